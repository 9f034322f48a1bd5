import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

declare const process: { env: Record<string, string | undefined> };

// One page: index.html, page.js and page.css, without further chunks, so that the server can hold them in memory and
// `cutaway report` can put them into one file. Workers are asked for with `?worker&inline`.
export default defineConfig({
  base: "./",
  plugins: [svelte()],
  // `CUTAWAY_VIEW=http://127.0.0.1:PORT npx vite` while working on the page, beside `cutaway view`.
  server: {
    proxy: { "/api": { target: process.env.CUTAWAY_VIEW ?? "http://127.0.0.1:8517", changeOrigin: true } },
  },
  worker: { format: "iife" },
  build: {
    outDir: "../src/cutaway/web/page",
    emptyOutDir: true,
    target: "es2023",
    cssCodeSplit: false,
    assetsInlineLimit: Number.MAX_SAFE_INTEGER,
    modulePreload: false,
    chunkSizeWarningLimit: 4000,
    license: { fileName: "licences.md" },
    rolldownOptions: {
      output: {
        codeSplitting: false,
        entryFileNames: "page.js",
        assetFileNames: "page[extname]",
      },
    },
  },
  // Generous: layouts of large graphs are tested, on machines that do other things, too.
  test: { include: ["tests/**/*.test.ts"], css: true, reporters: ["default"], testTimeout: 60_000 },
});
