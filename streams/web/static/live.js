// Keeps the page true without a reload: the server tells when the state has a new version and up to when data is known;
// the page then fetches the new state. Everything shown was rendered and escaped by the server.
"use strict";

(() => {
  const SILENT_MS = 15000; // three missed heartbeats: the connection is dead, whatever the browser thinks of it
  const REOPEN_MS = 15000; // a refused stream (too many browsers): ask at this interval instead

  const state = document.getElementById("state");
  const clock = document.getElementById("clock");
  const link = document.getElementById("link");
  const lost = document.getElementById("lost");
  let dataUntil = Number(state.dataset.until);
  let version = state.dataset.version;
  let trueAt = Date.now();
  let fetching = false;
  let stream = null;
  let watchdog = 0;

  // The same as age() in page.py.
  const age = (seconds) => {
    const whole = Math.max(Math.floor(seconds), 0);
    const two = (n, big, m, small) => (m ? `${n} ${big} ${m} ${small}` : `${n} ${big}`);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min`;
    if (whole < 86400) return two(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
    const days = Math.floor(whole / 86400);
    if (days < 365) return two(days, "d", Math.floor((whole % 86400) / 3600), "h");
    return two(Math.floor(days / 365), "y", days % 365, "d");
  };

  const utc = (seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    const behind = Date.now() / 1000 - seconds;
    const time = document.createElement("time");
    time.dateTime = text;
    time.title = local(time);
    const day = new Date(seconds * 1000).toLocaleDateString("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
    time.textContent = behind > 43200 ? `${day}, ${text.slice(11, 19)}` : text.slice(11, 19);
    return time;
  };

  const local = (time) => `${new Date(time.dateTime).toLocaleString()} your time`;

  const titles = () => {
    for (const time of document.querySelectorAll("time")) time.title = local(time);
  };

  const ages = () => {
    if (!dataUntil) return;
    for (const span of document.querySelectorAll("[data-since]")) {
      span.textContent = age(dataUntil - Number(span.dataset.since));
    }
    clock.replaceChildren("Data until ", utc(dataUntil));
    const behind = Date.now() / 1000 - dataUntil;
    if (behind > 300) clock.append(` · ${age(behind)} ago`);
  };

  const show = (connected) => {
    link.hidden = !connected;
    lost.hidden = connected;
    document.body.classList.toggle("lost", !connected);
    link.textContent = "Connected";
    if (!connected) document.getElementById("lost-since").replaceChildren(utc(trueAt / 1000));
  };

  // For those who listen: the headline, when it says something new. The whole state again and again would be noise.
  const say = (text) => {
    const said = document.getElementById("said");
    if (said.textContent !== text) said.textContent = text;
    document.title = `${text} · Groundswell`;
  };

  const refresh = async () => {
    if (fetching) return false;
    fetching = true;
    try {
      const answer = await fetch("/state", { cache: "no-cache", signal: AbortSignal.timeout(SILENT_MS) });
      if (!answer.ok) return false;
      const html = await answer.text();
      version = answer.headers.get("ETag").replace(/^W\/|"/g, "");
      dataUntil = Number(answer.headers.get("Data-Until")) || dataUntil;
      state.innerHTML = html;
      trueAt = Date.now();
      titles();
      ages();
      say(document.getElementById("headline").textContent);
      return true;
    } catch {
      return false; // Not reachable now: the stream says so, and brings us here again once it is back.
    } finally {
      fetching = false;
    }
  };

  const poll = async () => {
    if (!(await refresh())) return;
    show(true);
    link.textContent = `Every ${REOPEN_MS / 1000} s`;
  };

  const open = () => {
    clearTimeout(watchdog);
    if (stream) stream.close();
    stream = new EventSource("/events");
    stream.onmessage = (message) => {
      const told = JSON.parse(message.data);
      alive();
      show(true);
      dataUntil = told.data_until || dataUntil;
      if (told.version === version) trueAt = Date.now();
      else refresh();
      ages();
    };
    stream.onerror = () => {
      show(false);
      // Refused rather than broken: the browser gives up then, we do not.
      if (stream.readyState === EventSource.CLOSED) {
        clearTimeout(watchdog);
        watchdog = setTimeout(open, REOPEN_MS);
        poll();
      }
    };
    alive();
  };

  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      show(false);
      open();
    }, SILENT_MS);
  };

  titles();
  ages();
  open();
})();
