"""The page's style."""

STYLE = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#1c2128;--soft:#59636e;--line:#d9dee4;--link:#0a58ca;
--ok:#1a7f37;--warn:#8a5a00;--bad:#b3261e;--calm:#59636e}
@media (prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#171b22;--ink:#e6e9ee;--soft:#9aa5b1;
--line:#2d343e;--link:#7fb2ff;--ok:#57c878;--warn:#e3b341;--bad:#ff8a80;--calm:#9aa5b1}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
overflow-wrap:anywhere}
header,main{max-width:68rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{margin:0;font-size:1.75rem;letter-spacing:-.01em}
header p,small,.none{color:var(--soft)}
header p{margin:.25rem 0 0}
section{margin:2rem 0}
h2{font-size:1.15rem;margin:0 0 .75rem}
h3{font-size:1rem;margin:0}
h4{font-size:.8rem;margin:.9rem 0 .2rem;color:var(--soft);font-weight:600}
a{color:var(--link);text-decoration:none}
a:hover,a:focus-visible{text-decoration:underline}
.cards,.digests{display:grid;gap:1rem;align-items:start}
.cards{grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr))}
article,table,.notes{background:var(--card);border:1px solid var(--line);border-radius:.6rem}
article{padding:1rem 1.1rem}
article p{margin:.5rem 0}
ul{margin:0;padding-left:1.1rem}
dl{display:grid;grid-template-columns:fit-content(45%) 1fr;gap:.1rem .9rem;margin:0;
font-size:.9rem}
dt{color:var(--soft)}
dd{margin:0}
.counts{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;color:var(--soft)}
.counts b{color:var(--ink);font-size:1.25rem}
.pill{display:inline-block;border:1px solid;border-radius:1rem;padding:0 .6rem;font-size:.8rem;
font-weight:600;color:var(--calm)}
.pill.ok,.pill.open{color:var(--ok)}
.pill.stale,.pill.follow-up{color:var(--warn)}
.pill.failing{color:var(--bad)}
table{width:100%;border-collapse:separate;border-spacing:0}
th,td{text-align:left;padding:.6rem .9rem;vertical-align:top}
th{font-size:.8rem;color:var(--soft);font-weight:600}
td{border-top:1px solid var(--line)}
time{white-space:nowrap;font-variant-numeric:tabular-nums}
td time,.notes time{font-size:.85rem;color:var(--soft)}
.notes{padding:.4rem 1.1rem}
.notes p{margin:.45rem 0}
@media (max-width:44rem){
header,main{padding-left:.8rem;padding-right:.8rem}
thead{display:none}
table,tbody,tr,td{display:block}
tr{padding:.5rem 0;border-top:1px solid var(--line)}
tr:first-child{border-top:0}
td{border:0;padding:.15rem .9rem}
td:not(:first-child)::before{content:attr(data-is) ": ";color:var(--soft);font-size:.85rem}
}
"""
