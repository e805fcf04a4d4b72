// Questions to the API.

const MOST = 500; // rows in one answer

export async function ask(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  const answer = await fetch(query ? `${path}?${query}` : path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// So many rows, over as many answers as that takes.
export async function askFor(wanted, path, name, parameters = {}) {
  const rows = [];
  let answer = { cursor: null };
  do {
    const limit = Math.min(MOST, wanted - rows.length);
    answer = await ask(path, { ...parameters, limit, cursor: answer.cursor });
    rows.push(...answer[name]);
  } while (answer.cursor && rows.length < wanted);
  return { ...answer, [name]: rows };
}

let token = null; // asked for where the collector wants one, and kept while the page is open

export async function tell(path, value) {
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(value) });
  if (answer.status === 401 && !token && (token = prompt("The token of the collector:"))) return tell(path, value);
  if (answer.status === 401) token = null;
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer.json();
}
