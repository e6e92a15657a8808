// The page of the mail catcher: lists the newest mails and refreshes itself.
// Mail is untrusted: its text is set as text, and its HTML is shown in a sandboxed frame.

const SHOWN = 100;
const REFRESH_MILLISECONDS = 2000;
const LINK = /(https?:\/\/[^\s<>"]+)/;

const query = document.getElementById("query");
const list = document.getElementById("mails");
const status = document.getElementById("status");
let etag = "";

function element(name, text = "", properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text) made.textContent = text;
  return made;
}

function sayTime(time) {
  const seconds = (Date.now() - new Date(time)) / 1000;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(time).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

function people(addresses) {
  return addresses.map((one) => (one.name ? `${one.name} <${one.address}>` : one.address)).join(", ");
}

function showText(text) {
  const shown = element("pre");
  text.split(LINK).forEach((part) =>
    shown.append(LINK.test(part) ? element("a", part, { href: part, target: "_blank", rel: "noreferrer" }) : part));
  return shown;
}

function showHeaders(headers) {
  return element("pre", Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join("\n"));
}

function fill(row, mail) {
  const actions = element("div", "", { className: "actions" });
  const headers = showHeaders(mail.headers);
  headers.hidden = true;
  actions.append(
    element("span", `From ${people(mail.from)}`),
    element("button", "Headers", { type: "button", onclick: () => (headers.hidden = !headers.hidden) }),
    element("button", "Delete", { type: "button", onclick: () => remove(mail.id) }),
  );
  row.append(actions, headers);
  if (mail.text) row.append(showText(mail.text));
  if (mail.hasHtml) {
    row.append(element("iframe", "", {
      src: `email/${mail.id}/html`, title: "HTML version",
      sandbox: "allow-popups allow-popups-to-escape-sandbox",
    }));
  }
}

function makeRow(mail) {
  const row = element("details", "", { id: `mail-${mail.id}` });
  const summary = element("summary");
  const at = element("time", "", { dateTime: mail.time, title: new Date(mail.time).toLocaleString() });
  summary.append(element("b", mail.subject || "(no subject)"), element("span", `to ${people(mail.to)}`), at);
  row.append(summary);
  row.addEventListener("toggle", () => row.childElementCount === 1 && fill(row, mail), { once: true });
  return row;
}

// Rows that are still listed stay as they are, so an open mail stays open.
function show(mails) {
  list.replaceChildren(...mails.reverse().map((mail) => document.getElementById(`mail-${mail.id}`) || makeRow(mail)));
  const more = mails.length === SHOWN ? `The newest ${SHOWN} mails` : `${mails.length} mail${mails.length === 1 ? "" : "s"}`;
  status.textContent = `${more}${query.value ? " found" : ""}. No mail leaves this machine.`;
}

async function refresh() {
  try {
    const parameters = new URLSearchParams({ limit: SHOWN, q: query.value });
    const response = await fetch(`email?${parameters}`, { headers: { "If-None-Match": etag }, cache: "no-store" });
    if (response.status !== 304) {
      etag = response.headers.get("ETag");
      show(await response.json());
    }
  } catch {
    etag = "";
    status.textContent = "The mail catcher does not answer: is the platform running?";
  }
  list.querySelectorAll("time").forEach((at) => (at.textContent = sayTime(at.dateTime)));
}

async function remove(path) {
  await fetch(`email/${path}`, { method: "DELETE" });
  refresh();
}

query.addEventListener("input", () => { etag = ""; refresh(); });
document.getElementById("clear").addEventListener("click", () => confirm("Delete all mails?") && remove("all"));
refresh();
setInterval(refresh, REFRESH_MILLISECONDS);
