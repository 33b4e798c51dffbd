// A page of a host that was written against the contract: it guards what the contract calls nullable, and nothing else.

const api = document.querySelector("meta[name=model-performance-api]").content;
const query = new URLSearchParams(location.search);
const slot = new URLSearchParams({ model_type: query.get("model_type"), machine_id: query.get("machine_id") });

const show = (id, text) => { document.getElementById(id).textContent = text; };

function addTo(id, tag, texts) {
  const parent = document.getElementById(id);
  for (const text of texts) {
    const child = document.createElement(tag);
    child.textContent = text;
    parent.append(child);
  }
}

function addRow(texts) {
  const row = document.createElement("tr");
  for (const text of texts) {
    row.insertCell().textContent = text;
  }
  document.getElementById("evaluations").append(row);
}

const metric = (value) => (value === null ? "–" : value.toFixed(4));

async function showTrend() {
  const response = await fetch(`${api}/metrics/trend?${slot}`);
  if (response.status === 404) {
    show("state", "no data");
    return;
  }
  const trend = await response.json();
  show("machine", trend.machine_name);
  show("direction", trend.trend_direction);
  show("rate", trend.degradation_rate === null ? "–" : `${trend.degradation_rate.toFixed(3)} % per day`);
  show("worst-score", Math.max(...trend.metrics.map((row) => row.drift_score)).toFixed(4));
  show("samples", trend.metrics.reduce((sum, row) => sum + row.sample_count, 0).toLocaleString("en"));
  for (const row of trend.metrics) {
    addRow([
      row.evaluation_date.slice(0, 10),
      row.model_version.toFixed(0),
      metric(row.r_squared),
      metric(row.rmse),
      row.drift_score.toFixed(4),
      row.drift_detected.toString(),
      row.sample_count.toLocaleString("en"),
    ]);
  }
  show("state", "loaded");
}

async function showAlerts() {
  const response = await fetch(`${api}/alerts/active?machine_id=${slot.get("machine_id")}`);
  const alerts = await response.json();
  show("n-alerts", alerts.length.toLocaleString("en"));
  const texts = alerts.map((each) => `${each.severity} ${each.occurrences.toFixed(0)}× ${each.alert_message}`);
  addTo("alerts", "li", texts);
}

async function retrain() {
  const response = await fetch(`${api}/retrain/trigger?${slot}&reason=by+hand`, { method: "POST" });
  const answer = await response.json();
  show("retraining", answer.triggered ? `started ${answer.training_job_id}` : `${answer.reason} (${answer.training_job_id})`);
}

document.getElementById("retrain").addEventListener("click", retrain);
await showAlerts();
await showTrend();
