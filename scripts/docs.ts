import { writeFileSync } from 'node:fs'
import { renderedPages } from './docs-pages.ts'

/** Writes the pages of docs/ that are made from tables in the source. */
for (const { path, text } of await renderedPages()) {
  writeFileSync(new URL(`../${path}`, import.meta.url), text)
  console.log(path)
}
