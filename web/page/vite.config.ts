import { defineConfig } from "vite";

/** Builds into the Python package. The scripts of sordino-web lie there already, and are shared. */
export default defineConfig({
  base: "./",
  build: {
    outDir: "../../src/sordino/serve/page",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      external: ["sordino-web"],
      output: {
        paths: { "sordino-web": "../sordino-web/index.js" },
        entryFileNames: "assets/page.js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
});
