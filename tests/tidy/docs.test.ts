import { describe, expect, test } from 'vitest'
import { collectErrorTables, renderedPages } from '../../scripts/docs-pages.ts'
import { METRICS } from '../../src/telemetry/index.ts'
import { linesMatching, projectFiles, readProjectFile } from './tree.ts'

interface Manifest {
  readonly scripts?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
}

const manifest = readManifest('package.json')
const pages = projectFiles.filter((path) => path.endsWith('.md'))

/** Whether it is a file of the project or a folder with some. */
function exists(path: string): boolean {
  const folder = `${path.replace(/\/$/, '')}/`
  return projectFiles.some((file) => file === path || file.startsWith(folder))
}

function readManifest(path: string): Manifest {
  return JSON.parse(readProjectFile(path)) as Manifest
}

function dependenciesOf({ dependencies, devDependencies }: Manifest): [string, string][] {
  return Object.entries({ ...dependencies, ...devDependencies })
}

describe('docs', () => {
  test('the pages made from tables in the source are as "npm run docs" writes them', async () => {
    for (const { path, text } of await renderedPages()) {
      expect(readProjectFile(path), `${path}: run npm run docs`).toBe(text)
    }
  })

  test('an error code begins with its room, is unique, and its text is whole sentences', async () => {
    const codes: string[] = []
    for (const { room, codes: table } of await collectErrorTables()) {
      for (const [code, text] of Object.entries(table)) {
        expect(code).toMatch(new RegExp(`^${room.toUpperCase()}_[A-Z0-9_]+$`))
        expect(text, code).toMatch(/^\S.*[.)]$/s)
        codes.push(code)
      }
    }
    expect(codes).toEqual([...new Set(codes)])
  })

  test('every error code is thrown somewhere', async () => {
    // In the tables they are keys, without quotes.
    const rooms = projectFiles.filter((path) => /^(src|sim|cmd)\/.*\.ts$/.test(path))
    const text = rooms.map(readProjectFile).join('\n')
    const codes = (await collectErrorTables()).flatMap((table) => Object.keys(table.codes))
    expect(codes.filter((code) => !text.includes(`'${code}'`))).toEqual([])
  })

  test('every metric in the source is in the table, and every entry of the table is in the source', () => {
    const rooms = projectFiles.filter((path) => /^(src|cmd)\/.*\.ts$/.test(path))
    const text = rooms
      .filter((path) => path !== 'src/telemetry/metrics.ts')
      .map(readProjectFile)
      .join('\n')
    const named = [...text.matchAll(/(?:counter|gauge|histogram|series)\(\s*'(gateway_[a-z_]+)'/g)]
    expect(new Set(named.map(([, name]) => name))).toEqual(new Set(Object.keys(METRICS)))
  })

  test('docs/errors.md has a heading for each code, and for nothing else', async () => {
    const headings = [...readProjectFile('docs/errors.md').matchAll(/^### (\S+)$/gm)]
    const codes = (await collectErrorTables()).flatMap((table) => Object.keys(table.codes))
    expect(headings.map(([, code]) => code)).toEqual(codes)
  })

  test('pages name npm scripts that exist', () => {
    const unknown: string[] = []
    for (const page of pages) {
      for (const [, name] of readProjectFile(page).matchAll(/\bnpm run ([a-z][a-z:-]*)/g)) {
        if (manifest.scripts?.[name!] === undefined) unknown.push(`${page}: npm run ${name}`)
      }
    }
    expect(unknown).toEqual([])
  })

  test('pages show npm scripts or installed programs, never the files behind them', () => {
    expect(
      linesMatching(pages, /\b(node|npx|tsx) (\.\/)?(cmd|src|sim|scripts|dist|bench)\//),
    ).toEqual([])
  })

  test('paths that pages name exist', () => {
    const gone: string[] = []
    for (const page of pages) {
      const named = readProjectFile(page).matchAll(
        /`((?:src|cmd|sim|tests|scripts|docs|proto|migrations)\/[\w./-]*)`/g,
      )
      for (const [, path] of named) if (!exists(path!)) gone.push(`${page}: ${path}`)
    }
    expect(gone).toEqual([])
  })

  test('links between pages lead to files', () => {
    const broken: string[] = []
    for (const page of pages) {
      for (const [, target] of readProjectFile(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (/^[a-z]+:/.test(target!)) continue
        const path = new URL(target!, `file:///${page}`).pathname.slice(1)
        if (!exists(path)) broken.push(`${page} → ${target}`)
      }
    }
    expect(broken).toEqual([])
  })
})

describe('dependencies', () => {
  const all = [
    ...dependenciesOf(manifest),
    ...dependenciesOf(readManifest('tests/oracle/package.json')),
  ]

  test('each is pinned exactly', () => {
    expect(all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  })

  test('each has its line with its version in docs/dependencies.md, and nothing else has', () => {
    const rows = readProjectFile('docs/dependencies.md').matchAll(
      /^\| `([^`]+)` \| (\S+) \| .*\. \|$/gm,
    )
    const lines = [...rows].map(([, name, version]) => `${name} ${version}`)
    expect(lines.sort()).toEqual(all.map(([name, version]) => `${name} ${version}`).sort())
  })

  test('lockfiles hold no address of a registry', () => {
    const locks = projectFiles.filter((path) => path.endsWith('package-lock.json'))
    expect(linesMatching(locks, /"resolved":/)).toEqual([])
  })
})
