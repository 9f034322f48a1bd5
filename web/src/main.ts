import { mount } from "svelte";
import App from "./App.svelte";
import "./app/base.css";
import "./app/tokens.css";
import { embedded } from "./data/embedded";
import { HttpSource } from "./data/http";

const target = document.getElementById("page");
if (target) {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  mount(App, { target, props: { source: embedded(document) ?? new HttpSource(token) } });
}
