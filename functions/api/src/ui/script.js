"use strict";

// The API is beside this page, whatever prefix or stage they are served under.
const base = location.pathname.replace(/\/ui\/?$/, "");
const ACTIONS = ["rewrite_data_files", "rewrite_position_delete_files", "expire_snapshots", "rewrite_manifests",
  "remove_orphan_files"];
// What the API suggests between two polls of a job.
const REFRESH_MS = 30000;
const HEALTH_READS = 4;

const $ = (id) => document.getElementById(id);
let shown = 0;
let timer;
let jobStatus = "";

// ---- The API -------------------------------------------------------------------------------------------------------

async function call(path, { method = "GET", body } = {}) {
  const headers = {};
  const token = sessionStorage.getItem("token");
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(base + path, { method, headers, body: body && JSON.stringify(body) });
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(value.message || `the API answered ${answer.status}`);
    error.status = answer.status;
    throw error;
  }
  const next = /<([^>]*)>; rel="next"/.exec(answer.headers.get("link") || "");
  return { value, next: next && new URL(next[1], location.href).search };
}

const tablePath = (database, table) => `/tables/${encodeURIComponent(database)}/${encodeURIComponent(table)}`;

function notify(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// Runs what a person asked for; what went wrong is told, never thrown away.
const attempt = (work) => async (event) => {
  event?.preventDefault();
  notify("");
  try {
    await work(event);
  } catch (error) {
    notify(error.message);
  }
};

// ---- Building the page ---------------------------------------------------------------------------------------------

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const button = (text, onclick, label) => h("button", { type: "button", "aria-label": label, onclick: attempt(onclick) }, text);
const count = (number) => (number ?? "–").toLocaleString();
const time = (text) => (text ? h("time", { datetime: text }, new Date(text).toLocaleString()) : "–");

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(number, 1)) / 10), units.length - 1);
  return `${(number / 1024 ** power).toFixed(power && 1)} ${units[power]}`;
}

function grid(heads, rows, empty) {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  const cell = (tag) => (content, index) => h(tag, { class: heads[index].number && "number", scope: tag === "th" && "col" }, content);
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head) => head.text ?? head).map(cell("th")))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell("td")))))));
}

const facts = (pairs) => h("dl", {}, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

const STATUS = { completed: "good", running: "fair", pending: "fair", partial: "fair", failed: "poor", cancelled: "quiet" };
const statusOf = (status) => h("span", { class: STATUS[status] }, status);

// A list that grows by pages: `rows` makes the cells of its items.
async function list(path, query, heads, cells, empty) {
  const rows = [];
  const box = h("div", {});
  const load = async (search) => {
    const page = await call(path + search);
    rows.push(...page.value.map(cells));
    box.replaceChildren(grid(heads, rows, empty));
    if (page.next) box.append(h("p", {}, button("More", () => load(page.next))));
  };
  await load(query);
  return box;
}

// ---- Views ---------------------------------------------------------------------------------------------------------

function summary(health) {
  if (!health.needs_maintenance) return h("span", { class: "good" }, "healthy");
  const worst = health.issues.some((issue) => issue.severity === "critical") ? "poor" : "fair";
  return h("span", { class: worst }, health.recommended_actions.join(", "));
}

// Fills in the health of listed tables, a few requests at a time.
const waiting = [];
let reading = 0;

function readHealth(database, table, cell) {
  waiting.push({ database, table, cell, view: shown });
  while (reading < HEALTH_READS && waiting.length) {
    reading += 1;
    readWaiting();
  }
}

async function readWaiting() {
  while (waiting.length) {
    const { database, table, cell, view } = waiting.shift();
    if (view !== shown) continue;
    try {
      const { value } = await call(`${tablePath(database, table)}/health/cached`);
      cell.replaceChildren(summary(value), " ", h("span", { class: "quiet" }, `${count(value.file_stats.total_data_files)} files`));
    } catch (error) {
      cell.textContent = error.status === 404 ? "not read yet" : error.message;
    }
  }
  reading -= 1;
}

async function tables() {
  const enrolment = { true: "asked for", false: "declined" };
  const cells = (entry) => {
    const cell = h("span", { class: "quiet" }, "…");
    readHealth(entry.database, entry.table_name, cell);
    const link = `#${tablePath(entry.database, entry.table_name)}`;
    return [h("a", { href: link }, `${entry.database}.${entry.table_name}`), cell,
      entry.in_maintenance_allowlist ? enrolment[entry.maintenance_enabled] ?? "as the deployment says" : "not by itself"];
  };
  const found = h("div", {});
  const search = attempt(async () => {
    const database = field.value.trim();
    found.replaceChildren(await list("/tables", database && `?database=${encodeURIComponent(database)}`,
      ["Table", "Health", "Maintenance"], cells, "No tables here. The cache fills with the first sync."));
  });
  const field = h("input", { name: "database", "aria-label": "Database" });
  await search();
  return [h("h2", {}, "Tables"),
    h("form", { class: "row", onsubmit: search }, h("label", {}, "Database ", field), h("button", {}, "Show")), found];
}

function healthView(health) {
  const files = health.file_stats;
  return [
    h("p", {}, summary(health), " ", h("span", { class: "quiet" }, `(${health.source}, `, time(health.collected_at), ")")),
    facts([
      ["Data files", `${count(files.total_data_files)}, ${bytes(files.total_size_bytes)}`],
      ["Small files", `${count(files.small_file_count)} (${files.small_file_pct} %)`],
      ["Mean file size", bytes(files.avg_file_size_bytes)],
      ["Position-delete files", count(files.position_delete_files)],
      ["Equality-delete files", count(files.equality_delete_files)],
      ["Deletion vectors", count(files.deletion_vectors)],
      ["Rows, deleted of them", `${count(health.total_records)}, ${count(health.deleted_records)}`],
      ["Snapshots", count(health.snapshot_count)],
      ["Oldest snapshot", time(health.oldest_snapshot_at)],
      ["Manifests", count(health.manifest_count)],
      ["Format version", health.table.format_version],
    ]),
    h("ul", {}, health.issues.map((issue) =>
      h("li", {}, h("span", { class: { critical: "poor", warning: "fair" }[issue.severity] }, issue.severity), `: ${issue.message}`))),
  ];
}

function submitForm(path, due) {
  const answer = h("div", { "aria-live": "polite" });
  const boxes = ACTIONS.map((action) => h("input", { type: "checkbox", value: action, checked: due.includes(action) }));
  const dry = h("input", { type: "checkbox", checked: true });
  const send = attempt(async () => {
    const actions = boxes.filter((box) => box.checked).map((box) => box.value);
    const { value } = await call(`${path}/maintenance`, { method: "POST", body: { actions, dry_run: dry.checked } });
    if (value.dry_run) answer.replaceChildren(h("h3", {}, "What would be done"), results(value));
    else location.hash = `#/jobs/${value.job_id}`;
  });
  return [h("h2", {}, "Submit maintenance"), h("form", { onsubmit: send },
    h("fieldset", {}, h("legend", {}, "Actions, run in this order"),
      boxes.map((box) => h("label", {}, box, ` ${box.value}`))),
    h("p", { class: "row" }, h("label", {}, dry, " Dry run: only say what would be done"),
      h("button", { class: "primary" }, "Submit"))), answer];
}

async function table(database, name) {
  const path = tablePath(database, name);
  const health = h("section", {});
  const load = (from) => call(path + from).then(({ value }) => health.replaceChildren(...healthView(value)));
  const known = await load("/health/cached").then(() => true, (error) => {
    if (error.status !== 404) throw error;
    health.replaceChildren(h("p", { class: "quiet" }, error.message));
    return false;
  });
  const advice = h("section", {});
  const form = h("section", {});
  const advise = async () => {
    const { value } = await call(`${path}/maintenance/recommendation`);
    const rows = value.actions.map((entry) =>
      [entry.action, entry.recommended ? h("strong", {}, "due") : h("span", { class: "quiet" }, "not due"), entry.reason]);
    advice.replaceChildren(h("h2", {}, "Recommendation"),
      value.skip_reason ? h("p", {}, "Not submitted by itself now: ", h("code", {}, value.skip_reason)) : "",
      grid(["Action", "", "Why"], rows));
    form.replaceChildren(...submitForm(path, value.actions.filter((entry) => entry.recommended).map((entry) => entry.action)));
  };
  form.replaceChildren(...submitForm(path, []));
  if (known) await attempt(advise)();
  const query = `?database=${encodeURIComponent(database)}&table=${encodeURIComponent(name)}&limit=20`;
  const work = await list("/jobs", query, JOB_HEADS, jobCells, "No jobs on this table.");
  return [h("h2", {}, `${database}.${name}`),
    h("p", { class: "row" }, button("Read health now", async () => { await load("/health"); await advise(); }),
      button("What is due?", advise)), health, advice, form, h("h2", {}, "Jobs"), work];
}

const JOB_HEADS = ["Job", "Table", "Actions", "Status", "Submitted", ""];

function progressOf(job) {
  if (job.status !== "running" || !job.progress) return null;
  const { action, done, total, unit } = job.progress;
  return h("div", {}, h("progress", { value: done, max: Math.max(total, 1), "aria-label": action }), ` ${action} ${done}/${total} ${unit}`);
}

function jobCells(job) {
  const active = job.status === "pending" || job.status === "running";
  const cancel = () => {
    if (!confirm(`Cancel job ${job.job_id}?`)) return null;
    return call(`/jobs/${job.job_id}/cancel`, { method: "POST" }).then(show);
  };
  return [h("a", { href: `#/jobs/${job.job_id}` }, h("code", {}, job.job_id.slice(0, 13))),
    h("a", { href: `#${tablePath(job.database, job.table_name)}` }, `${job.database}.${job.table_name}`),
    job.actions.join(", ") + (job.dry_run ? " (dry run)" : ""), h("div", {}, statusOf(job.status), progressOf(job)),
    time(job.submitted_at), active ? button("Cancel", cancel, `Cancel job ${job.job_id}`) : ""];
}

async function jobs() {
  const found = h("div", {});
  const filter = h("select", { "aria-label": "Status" },
    ["", "pending", "running", "completed", "failed", "cancelled"].map((status) =>
      h("option", { value: status, selected: status === jobStatus }, status || "any status")));
  const search = attempt(async () => {
    jobStatus = filter.value;
    found.replaceChildren(await list("/jobs", jobStatus && `?status=${jobStatus}`, JOB_HEADS, jobCells, "No jobs."));
  });
  filter.addEventListener("change", search);
  await search();
  return [h("h2", {}, "Jobs"), h("p", {}, filter), found];
}

function results(job) {
  if (!job.results) return h("p", { class: "quiet" }, "Results come when the job has ended.");
  return h("div", {}, job.results.map((result) => {
    const { source, note, ...numbers } = result.preview ?? {};
    const predicted = result.predicted ?? {};
    const pairs = Object.entries({ ...result.metrics, ...numbers });
    const shown = (name, value) => (name.startsWith("bytes") && value !== null ? bytes(value) : count(value));
    const expected = (name) => (name in predicted ? ` (planned ${shown(name, predicted[name])})` : "");
    return [h("h3", {}, result.action, " ", statusOf(result.success ? "completed" : "failed")),
      h("p", {}, result.error ?? (result.preview ? [source === "cached" ? "from kept health" : "", note].filter(Boolean).join(": ") : result.message)),
      facts(pairs.map(([name, value]) => [name.replaceAll("_", " "), shown(name, value) + expected(name)]))];
  }).flat());
}

async function job(id) {
  const { value } = await call(`/jobs/${id}`);
  return [h("h2", {}, `Job ${id}`), grid(JOB_HEADS, [jobCells(value)]),
    facts([["Started", time(value.started_at)], ["Ended", time(value.completed_at)], ["Attempts", value.attempt]]),
    value.error ? h("p", { class: "poor" }, value.error) : "", results(value)];
}

async function runs() {
  const heads = ["Started", "Status", { text: "Assessed", number: true }, { text: "Skipped", number: true },
    { text: "Healthy", number: true }, { text: "Jobs", number: true }, { text: "Completed", number: true },
    { text: "Failed", number: true }, "Notes"];
  const cells = (run) => [time(run.started_at), statusOf(run.status), count(run.tables_assessed), count(run.tables_skipped),
    count(run.tables_healthy), count(run.jobs_submitted), count(run.jobs_completed), count(run.jobs_failed),
    [run.dry_run ? "dry run" : "", run.error, Object.entries(run.skip_reasons).map(([why, of]) => `${why}: ${of}`).join(", ")]
      .filter(Boolean).join("; ")];
  return [h("h2", {}, "Orchestrator runs"), await list("/orchestrator/runs", "", heads, cells, "No run was recorded yet.")];
}

// ---- Routing -------------------------------------------------------------------------------------------------------

function viewOf(hash) {
  const [, name = "tables", ...rest] = hash.slice(1).split("/").map(decodeURIComponent);
  if (name === "tables" && rest.length === 2) return () => table(...rest);
  if (name === "jobs" && rest.length === 1) return () => job(rest[0]);
  return { jobs, runs }[name] ?? tables;
}

async function state() {
  const [{ value: drain }, { value: cache }] = await Promise.all([call("/drain"), call("/tables/cache-status")]);
  const synced = cache.last_synced ? `synced ${new Date(cache.last_synced).toLocaleTimeString()}` : "never synced";
  $("state").textContent = `${count(cache.table_count)} tables, ${synced}${drain.enabled ? ` · drain mode: ${drain.reason ?? "on"}` : ""}`;
}

async function show() {
  const view = (shown += 1);
  clearTimeout(timer);
  const section = location.hash.split("/")[1] || "tables";
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.getAttribute("href") === `#/${section}`;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  await attempt(async () => {
    const parts = await viewOf(location.hash)();
    if (view === shown) $("view").replaceChildren(...parts);
  })();
  state().catch((error) => { $("state").textContent = error.message; });
  if (view === shown && (section === "jobs" || section === "runs")) timer = setTimeout(refresh, REFRESH_MS);
}

// What someone works in is not replaced under their hands.
function refresh() {
  const focused = document.activeElement;
  if (focused !== $("view") && $("view").contains(focused)) timer = setTimeout(refresh, REFRESH_MS);
  else show();
}

$("access").addEventListener("submit", attempt(() => {
  sessionStorage.setItem("token", $("token").value);
  return show();
}));
addEventListener("hashchange", () => show().then(() => $("view").focus()));
show();
