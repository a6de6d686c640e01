/** `npm run example -- <name>`: one of the bots beside this file. */
import { readdirSync } from 'node:fs'

const folder = new URL('.', import.meta.url)
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && !['main.ts', 'pong.ts'].includes(file))
  .map((file) => file.replace(/\.ts$/, ''))
const name = process.argv[2] ?? ''
if (names.includes(name)) {
  await import(new URL(`${name}.ts`, folder).href)
} else {
  console.error(`npm run example -- ${names.join(' | ')}; start npm run demo first, it shows how`)
  process.exitCode = 1
}
