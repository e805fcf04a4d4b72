"""One Temporal workflow per job type, and what they share.

The workflows run no user code and read no setting: all they decide comes from history.
They know activities by name alone and do no I/O.
"""
