/** docs/state.md names every route that there is, and no other; its parameters and answers are those of the description. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { silentLog, systemClock } from '../../src/base/index.ts'
import { StateEditor, StateReader } from '../../src/cache/index.ts'
import { Secret } from '../../src/base/index.ts'
import { type HttpServer, startHttpServer } from '../../src/server/index.ts'

const BASE = '/v1/events'
const PAGE = readFileSync(new URL('../../docs/state.md', import.meta.url), 'utf8')
const NOBODY = { query: () => Promise.reject(new Error('nobody asks')) }

interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string }[]
}

let server: HttpServer
let paths: Record<string, Record<string, Operation>>
beforeAll(async () => {
  server = await startHttpServer({
    address: '127.0.0.1:0',
    flag: 'addr',
    version: '0',
    clock: systemClock,
    log: silentLog,
    state: {
      reader: new StateReader(NOBODY),
      editor: new StateEditor(NOBODY),
      writeToken: new Secret('w'),
    },
  })
  ;({ paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as typeof openapi)
})
afterAll(() => server.close())
declare const openapi: { paths: Record<string, Record<string, Operation>> }

/** `/guilds/{guild}` as the page writes it. */
const shown = (path: string): string =>
  path.slice(BASE.length).replaceAll('{', ':').replaceAll('}', '')

/** Route → its query parameters, as the tables of the page name them. */
function documented(): Map<string, Set<string>> {
  const routes = new Map<string, Set<string>>()
  for (const line of PAGE.split('\n')) {
    const cell = /^\| (`.*?) \|/.exec(line)?.[1]
    if (cell === undefined || /^`?\d/.test(cell)) continue
    let parent = ''
    const isBatch = cell.startsWith('`POST ')
    for (const [, text = ''] of cell.matchAll(/`([^`]+)`/g)) {
      const [path = '', query = ''] = text.replace('POST ', '').split('?')
      const route = isBatch
        ? path.startsWith('/')
          ? path
          : `/batch/${path}`
        : path.split('/').length === 2 && parent !== ''
          ? parent + path
          : path
      if (!isBatch && parent === '') parent = route.slice(0, route.lastIndexOf('/'))
      const names = [...new URLSearchParams(query).keys()]
      const known = routes.get(route) ?? new Set()
      for (const name of names) known.add(name)
      routes.set(route, known)
      if (line.includes('with an id behind it, one')) {
        routes.set(`${route}/:id`, new Set())
      }
    }
  }
  return routes
}

const anonymous = (route: string): string => route.replace(/:\w+$/, ':id')

test('every route is in the tables, and every route of the tables is there', () => {
  const real = new Set<string>()
  for (const [path, operations] of Object.entries(paths)) {
    if (!path.startsWith(BASE)) continue
    const isRead = operations['get'] !== undefined || path.includes('/batch/')
    if (isRead) real.add(anonymous(shown(path)))
  }
  const told = new Set([...documented().keys()].map(anonymous))
  expect([...told].sort()).toEqual([...real].sort())
})

test('every parameter but those of pages is in the tables', () => {
  const routes = documented()
  for (const [path, { get: operation }] of Object.entries(paths)) {
    if (!path.startsWith(BASE) || operation === undefined) continue
    const names = (operation.parameters ?? [])
      .filter((parameter) => parameter.in === 'query')
      .map(({ name }) => name)
      .filter((name) => name !== 'after' && name !== 'limit')
    const told = [...routes].filter(([route]) => anonymous(route) === anonymous(shown(path)))
    const known = new Set(told.flatMap(([, parameters]) => [...parameters]))
    expect({ path, names: names.sort() }).toEqual({ path, names: [...known].sort() })
  }
})

test('the writing routes are named as well', () => {
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of ['post', 'delete']) {
      if (operations[method] === undefined || path.includes('/batch/')) continue
      const last = path.split('/').slice(-1)[0]!
      expect(PAGE).toMatch(new RegExp(`${method.toUpperCase()} [^\n]*${last}`, 'i'))
    }
  }
})
