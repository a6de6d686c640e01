/** What only the embedded database does: its folder is one process', and survives a kill. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Log, seededRandom, silentLog } from '../../src/base/index.ts'
import { openDatabase } from '../../src/cache/index.ts'
import { lockDataFolder } from '../../src/cache/data-lock.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { deps, TestCache } from './cache-setup.ts'

const children: ChildProcess[] = []
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gateway-embedded-'))
})
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** Starts a writer; `lines` are what it prints. */
function startWriter(dataDir: string): { child: ChildProcess; lines: AsyncIterator<string> } {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'fixtures', 'embedded-child.ts'), dataDir],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  children.push(child)
  return { child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator]() }
}

async function nextLine(lines: AsyncIterator<string>): Promise<string> {
  const { value } = (await lines.next()) as { value: string | undefined }
  return value ?? 'end'
}

describe('the lock of a data folder', () => {
  it('is not given while its owner lives, by pid and start time', () => {
    const dataDir = join(folder, 'locked')
    mkdirSync(dataDir)
    const lock = lockDataFolder(dataDir)
    expect(() => lockDataFolder(dataDir)).toThrow(
      expect.objectContaining({
        code: 'CACHE_DATA_LOCKED',
        message: expect.stringContaining(String(process.pid)) as string,
      }) as Error,
    )
    lock.release()
    lockDataFolder(dataDir).release()
    expect(existsSync(join(dataDir, 'lock'))).toBe(false)
  })

  it('is taken from a dead process, and from a dead one whose pid somebody else has now', () => {
    const dataDir = join(folder, 'stale')
    mkdirSync(dataDir)
    for (const content of ['4194000 12345\n', `${process.pid} 1\n`, '', 'nonsense\n']) {
      writeFileSync(join(dataDir, 'lock'), content)
      const lock = lockDataFolder(dataDir)
      expect(readFileSync(join(dataDir, 'lock'), 'utf8')).toMatch(new RegExp(`^${process.pid} `))
      lock.release()
    }
  })
})

describe('the embedded database', () => {
  it('refuses a folder that it cannot use', async () => {
    const file = join(folder, 'a file')
    writeFileSync(file, '')
    await expect(openDatabase({ dataDir: file }, deps)).rejects.toMatchObject({
      code: 'CACHE_DATA_UNUSABLE',
    })
  })

  it('begins anew what a kill left half made, refuses a second process, loses nothing when the first is killed', async () => {
    const dataDir = join(folder, 'killed')
    // As a kill leaves it while the files are made for the first time.
    mkdirSync(join(dataDir, 'pg.new'), { recursive: true })
    writeFileSync(join(dataDir, 'pg.new', 'PG_VERSION'), '18\n')
    const random = seededRandom(7)
    let committed = 0
    for (let round = 0; round < 3; round++) {
      const { child, lines } = startWriter(dataDir)
      const first = await nextLine(lines)
      expect(first).toMatch(/^open /)
      expect(Number(first.slice(5))).toBeGreaterThanOrEqual(committed)
      if (round === 0) {
        await expect(openDatabase({ dataDir }, deps)).rejects.toMatchObject({
          code: 'CACHE_DATA_LOCKED',
          details: { pid: child.pid },
        })
      }
      setTimeout(() => child.kill('SIGKILL'), 50 + random() * 400)
      for (let line = await nextLine(lines); line !== 'end'; line = await nextLine(lines)) {
        committed = Number(line)
      }
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
    expect(committed).toBeGreaterThan(0)
    const clock = new FakeClock()
    const warnings: unknown[] = []
    const log: Log = { ...silentLog, warn: (...warning) => warnings.push(warning) }
    const database = await openDatabase({ dataDir }, { ...deps, clock, log })
    const cache = await TestCache.open(database, { keep: true, revision: 99_999_999 })
    const rows = await cache.column('select id from roles')
    expect(rows.length).toBeGreaterThanOrEqual(committed)
    await cache.close()
    // It does its own checkpoints and vacuum, which no server does for it.
    const checkpoint = async (): Promise<unknown> =>
      (await database.query('select redo_lsn from pg_control_checkpoint()'))[0]
    const before = await checkpoint()
    await until(async () => {
      await database.query(`update roles set data = data || '{"again": true}'`)
      await clock.advance(60_000)
      return JSON.stringify(await checkpoint()) !== JSON.stringify(before)
    })
    await until(async () => {
      await database.query(`update roles set data = data || '{"again": false}'`)
      await clock.advance(60_000)
      const [row] = await database.query<{ n: number }>(
        `select reltuples::int4 as n from pg_class where relname = 'roles'`,
      )
      return row?.n === rows.length
    })
    expect(warnings).toEqual([])
    await database.close()
    expect(existsSync(join(dataDir, 'lock'))).toBe(false)
  }, 60_000)
})
