"use strict";
// Everything is set as text, never as markup: orders come from strangers.
const ROWS_MAX = 100;
const rows = new Map();
const body = document.getElementById("orders");

function cell(row, text, name) {
  const td = row.insertCell();
  td.textContent = text;
  if (name) td.className = name;
  return td;
}

function show(order, lastEvent) {
  let row = rows.get(order.id);
  if (!row) {
    row = document.createElement("tr");
    rows.set(order.id, row);
    body.prepend(row);
    document.getElementById("empty").hidden = true;
    while (rows.size > ROWS_MAX) {
      const [oldest, element] = rows.entries().next().value;
      rows.delete(oldest);
      element.remove();
    }
  }
  const last = lastEvent || row.dataset.last || "";
  row.dataset.last = last;
  row.replaceChildren();
  cell(row, order.id);
  cell(row, order.clientId);
  cell(row, order.status, order.status);
  cell(row, last);
  cell(row, new Date(order.updatedAt).toLocaleTimeString());
}

async function refresh(id, lastEvent) {
  const answer = await fetch("/api/orders/" + encodeURIComponent(id));
  if (answer.ok) show(await answer.json(), lastEvent);
}

async function partners() {
  const answer = await fetch("/api/services/health");
  if (!answer.ok) return;
  const { services } = await answer.json();
  const list = document.getElementById("partners");
  list.replaceChildren();
  for (const [name, service] of Object.entries(services)) {
    const item = document.createElement("li");
    item.textContent = name.toUpperCase() + ": " + service.circuit + " ";
    if (service.circuit !== "closed") {
      item.className = "open";
      const button = document.createElement("button");
      button.textContent = "recover";
      button.onclick = async () => {
        await fetch("/api/services/" + name + "/recover", { method: "POST" });
        partners();
      };
      item.append(button);
    }
    list.append(item);
  }
}

async function start() {
  const answer = await fetch("/api/orders?limit=" + ROWS_MAX);
  if (answer.ok) {
    const { orders } = await answer.json();
    orders.reverse().forEach((order) => show(order));
  }
  const connection = document.getElementById("connection");
  const stream = new EventSource("/api/events/stream");
  stream.onopen = () => { connection.textContent = "live"; };
  stream.onerror = () => { connection.textContent = "reconnecting"; };
  stream.addEventListener("order", (message) => {
    const event = JSON.parse(message.data);
    refresh(event.orderId, event.eventType);
  });
  stream.addEventListener("reset", () => location.reload());
  partners();
  setInterval(partners, 2000);
}

start();
