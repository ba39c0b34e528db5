"use strict";

// A run that is killed cannot say so on its page. The age of the page says it.
const PATIENCE_S = 180;

function describeAge(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} minutes ago`;
  return `${Math.round(minutes / 60)} hours ago`;
}

function showAge(status, line) {
  const seconds = Date.now() / 1000 - Number(status.dataset.written);
  if (seconds < PATIENCE_S) return;
  status.classList.add("silent");
  line.textContent =
    `No news: this page was written ${describeAge(seconds)}. ` +
    "The run was killed, or one step or validation takes very long.";
}

// A script loads the page again, and not the browser by itself: so it can be switched off.
function renewWhileChecked(box) {
  box.checked = sessionStorage.getItem("renew") !== "no";
  box.closest("[hidden]").hidden = false;
  box.addEventListener("change", () => {
    sessionStorage.setItem("renew", box.checked ? "yes" : "no");
  });
  setInterval(() => {
    if (box.checked) location.reload();
  }, Number(box.dataset.seconds) * 1000);
}

const running = document.querySelector("[data-outcome=running]");
if (running) {
  const line = document.getElementById("age");
  showAge(running, line);
  setInterval(() => showAge(running, line), 1000);
  renewWhileChecked(document.getElementById("renew"));
}
