import { describe, expect, test } from 'vitest'
import { findImports, type Import, importsOf } from './imports.ts'
import { projectFiles, readProjectFile } from './tree.ts'

interface Room {
  /** The rooms below it: entered through their index.ts. */
  readonly rooms: readonly string[]
  readonly packages: readonly string[]
  /** Rooms whose ports it implements: it imports their types, which leave no trace at run time. */
  readonly portsOf?: readonly string[]
}

/** docs/architecture.md's table of rooms: who may import whom. */
const ROOMS: Readonly<Record<string, Room>> = {
  'src/base': { rooms: [], packages: [] },
  'src/discord': { rooms: ['src/base'], packages: [] },
  'src/etf': { rooms: ['src/base'], packages: [] },
  'src/config': { rooms: ['src/base', 'src/discord'], packages: ['yaml'] },
  'src/telemetry': { rooms: ['src/base'], packages: ['pino', 'pino-pretty', 'prom-client'] },
  'src/shard': { rooms: ['src/base', 'src/discord', 'src/etf'], packages: ['undici'] },
  'src/cache': {
    rooms: ['src/base', 'src/discord', 'src/etf'],
    packages: ['pg', '@electric-sql/pglite'],
  },
  'src/push': {
    rooms: ['src/base', 'src/discord', 'src/etf'],
    packages: ['ioredis', '@grpc/grpc-js', '@grpc/proto-loader'],
  },
  'src/cluster': {
    rooms: ['src/base', 'src/discord'],
    packages: ['etcd3'],
    portsOf: ['src/shard'],
  },
  'src/server': {
    rooms: [
      'src/base',
      'src/discord',
      'src/etf',
      'src/telemetry',
      'src/shard',
      'src/cache',
      'src/push',
      'src/cluster',
    ],
    packages: [
      'fastify',
      '@fastify/swagger',
      '@scalar/fastify-api-reference',
      '@grpc/grpc-js',
      '@grpc/proto-loader',
      '@grpc/reflection',
      'grpc-health-check',
      'uplot',
    ],
  },
  'src/consumer': {
    rooms: ['src/base', 'src/discord', 'src/etf'],
    packages: ['ioredis', '@grpc/grpc-js', '@grpc/proto-loader', 'discord-api-types'],
  },
  sim: { rooms: ['src/base', 'src/discord', 'src/etf'], packages: ['ws', 'fastify'] },
}

/** What joins the rooms, may import every room and every package. */
const FREE = ['cmd', 'tests', 'scripts', 'bench', 'examples']

const sources = projectFiles.filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
const imports = sources.flatMap(importsOf)

function roomOf(path: string): string {
  const [top = '', second = ''] = path.split('/')
  return top === 'src' ? `src/${second}` : top
}

function isPackage(target: string): boolean {
  return !target.startsWith('node:') && !target.includes('.ts')
}

function mayImport(room: Room, { to, isTypeOnly }: Import): boolean {
  if (to.startsWith('node:')) return true
  if (isPackage(to)) return room.packages.includes(to)
  if (isTypeOnly && room.portsOf?.includes(roomOf(to))) return true
  return room.rooms.includes(roomOf(to))
}

function show({ from, to }: Import): string {
  return `${from} imports ${to}`
}

describe('the reader of imports', () => {
  test('sees every form, over several lines, with and without types', () => {
    const text = [
      "import { a,\n  type B } from './x.ts'",
      'export const from = 1',
      "import type { C } from '../base/index.ts'",
      "export * from './y.ts'",
      "import 'pg/lib/client'",
      "const d = await import('@grpc/grpc-js/build')",
      "import fs from 'node:fs'",
    ].join('\n')
    expect(
      findImports('src/cache/z.ts', text).map(({ to, isTypeOnly }) => [to, isTypeOnly]),
    ).toEqual([
      ['src/cache/x.ts', false],
      ['src/base/index.ts', true],
      ['src/cache/y.ts', false],
      ['pg', false],
      ['@grpc/grpc-js', false],
      ['node:fs', false],
    ])
  })

  test('the table refuses what it does not name', () => {
    const refusals = [
      { from: 'src/push/a.ts', to: 'src/cache/index.ts' },
      { from: 'src/etf/a.ts', to: 'pg' },
      { from: 'src/cluster/a.ts', to: 'src/shard/index.ts' },
      { from: 'src/cluster/a.ts', to: 'src/cache/index.ts' },
    ].map(({ from, to }) => mayImport(ROOMS[roomOf(from)]!, { from, to, isTypeOnly: false }))
    expect(refusals).toEqual([false, false, false, false])
  })
})

describe('rooms', () => {
  test('every folder with code has its line in the table', () => {
    const tops = new Set(sources.filter((path) => path.includes('/')).map((path) => roomOf(path)))
    const unknown = [...tops].filter((room) => !(room in ROOMS) && !FREE.includes(room))
    expect(unknown).toEqual([])
  })

  test.each(Object.entries(ROOMS))('%s imports only what the table allows', (name, room) => {
    const refused = imports.filter(
      (one) => roomOf(one.from) === name && roomOf(one.to) !== name && !mayImport(room, one),
    )
    expect(refused.map(show)).toEqual([])
  })

  test('a room is entered through its index.ts', () => {
    const sideDoors = imports.filter(({ from, to }) => {
      const room = roomOf(to)
      if (isPackage(to) || to.startsWith('node:') || !(room in ROOMS)) return false
      if (roomOf(from) === room || from.startsWith('tests/')) return false
      return to !== `${room}/index.ts`
    })
    expect(sideDoors.map(show)).toEqual([])
  })

  test('cache, push and shard never import each other', () => {
    const rooms = ['src/cache', 'src/push', 'src/shard']
    const crossing = imports.filter(
      ({ from, to }) =>
        rooms.includes(roomOf(from)) && rooms.includes(roomOf(to)) && roomOf(from) !== roomOf(to),
    )
    expect(crossing.map(show)).toEqual([])
  })

  test('docs/architecture.md shows the same table', () => {
    const rows = readProjectFile('docs/architecture.md').matchAll(/^\| `(\w+)` \| .* \| (.*) \|$/gm)
    const shown = new Map([...rows].map(([, room, text]) => [`src/${room}`, roomsNamed(text!)]))
    const existing = new Set(sources.map(roomOf).filter((room) => room.startsWith('src/')))
    const held = [...existing].map((room) => {
      const { rooms = [], portsOf = [] } = ROOMS[room] ?? {}
      return [room, [...rooms, ...portsOf.map((other) => `ports of ${other}`)]] as const
    })
    expect(shown).toEqual(new Map(held))
  })
})

/** "base, discord" → the names of the rooms; "the rooms' public faces" are all that cmd joins. */
function roomsNamed(text: string): readonly string[] {
  if (text === 'nothing') return []
  if (text === "the rooms' public faces") return ROOMS['src/server']!.rooms
  return text
    .split(', ')
    .map((word) => (word === "shard's ports" ? 'ports of src/shard' : `src/${word}`))
}
