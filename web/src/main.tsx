import "./styles.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { startLanguages } from "./i18n";
import { start } from "./state/start";
import { startTheme } from "./state/theme";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no element #root");

startTheme();
start();
await startLanguages();
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
