import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { renderConfigDoc } from '../src/config/index.ts'
import { renderMetricsDoc } from '../src/telemetry/index.ts'

/** A page of docs/ that is made from tables in the source. */
export interface Page {
  /** From the project's top. */
  readonly path: string
  readonly text: string
}

export interface ErrorTable {
  readonly room: string
  /** Code → what it means and what to do. */
  readonly codes: Readonly<Record<string, string>>
}

const projectUrl = new URL('..', import.meta.url)

export async function renderedPages(): Promise<Page[]> {
  return [
    { path: 'docs/errors.md', text: renderErrorsDoc(await collectErrorTables()) },
    { path: 'docs/config.md', text: renderConfigDoc() },
    { path: 'docs/metrics.md', text: renderMetricsDoc() },
  ]
}

/** The `<ROOM>_ERRORS` table of every room that has one, by the room's name. */
export async function collectErrorTables(): Promise<ErrorTable[]> {
  const rooms = readdirSync(new URL('src', projectUrl)).map((room) => `src/${room}`)
  const tables: ErrorTable[] = []
  for (const folder of ['sim', ...rooms].sort(byName)) {
    const file = new URL(`${folder}/errors.ts`, projectUrl)
    if (!existsSync(fileURLToPath(file))) continue
    const exported = Object.entries((await import(file.href)) as Record<string, unknown>)
    for (const [name, value] of exported) {
      if (!name.endsWith('_ERRORS')) continue
      tables.push({ room: nameOf(folder), codes: value as Readonly<Record<string, string>> })
    }
  }
  return tables
}

function renderErrorsDoc(tables: readonly ErrorTable[]): string {
  const sections = tables.map(
    ({ room, codes }) =>
      `## ${room}\n\n` +
      Object.entries(codes)
        .map(([code, text]) => `### ${code}\n\n${text}\n`)
        .join('\n'),
  )
  return `# Errors

Every error that the programs report begins with one of these codes in brackets. The part before the first
underscore is the room of the source that it comes from. This page is written by \`npm run docs\` from the tables
in src/*/errors.ts; a test compares the two.

${sections.join('\n')}`
}

function nameOf(folder: string): string {
  return folder.replace('src/', '')
}

function byName(a: string, b: string): number {
  return nameOf(a) < nameOf(b) ? -1 : 1
}
