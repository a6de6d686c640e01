/** What State answers while Postgres is slow, or goes away in the middle of an answer; and what a long list holds. */
import { get, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  memoryCounters,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { type Database, migrate, openDatabase, StateReader } from '../../src/cache/index.ts'
import { type HttpServer, startHttpServer } from '../../src/server/index.ts'
import { startPostgres, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

const deps = {
  clock: systemClock,
  random: seededRandom(1),
  log: silentLog,
  counters: memoryCounters(),
}

const GUILD = '197038439483310086'
const ROWS = 20_000
const ROW_BYTES = 2000
/** Of rowPages. */
const ROWS_PER_PAGE = 500

describe('State and a Postgres that', () => {
  let postgres: TestServer
  let db: Database
  /** Gives a statement up after 250 ms. */
  let impatient: Database
  let asked: Database
  let server: HttpServer
  let pages = 0

  beforeAll(async () => {
    postgres = await startPostgres({ fsync: false })
    const url = new Secret(postgres.url)
    const options = { url, name: 'test', connectionsMax: 8 }
    db = await openDatabase(options, deps)
    impatient = await openDatabase({ ...options, statementTimeoutMs: 250 }, deps)
    asked = db
    await migrate(db, { log: silentLog })
    await db.query(
      `insert into members (guild_id, user_id, data)
       select ${GUILD}, i, jsonb_build_object('nick', i, 'pad', repeat('x', ${ROW_BYTES}))
       from generate_series(1, ${ROWS}) as i`,
    )
    server = await startHttpServer({
      address: '127.0.0.1:0',
      flag: 'addr',
      version: '0',
      clock: systemClock,
      log: silentLog,
      state: {
        reader: new StateReader({
          query: (text, values, name, deadlineMs) => {
            if (name === 'state_guild_members') pages++
            return asked.query(text, values, name, deadlineMs)
          },
        }),
      },
    })
  })

  afterAll(async () => {
    await server.close()
    await Promise.all([db.close(), impatient.close()])
    await postgres.stop()
  })

  const members = (query = ''): string => `${server.url}/v1/events/guilds/${GUILD}/members${query}`
  const open = (url: string): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      get(url, { agent: false }, resolve).once('error', reject)
    })

  test('is slow: 503 with Retry-After for each, one row or a list, and 200 when it is quick again', async () => {
    const blocker = await db.connect('blocker')
    let release: () => void = () => undefined
    const blocked = blocker.transaction(async (tx) => {
      await tx.query('lock table members in access exclusive mode')
      await new Promise<void>((resolve) => {
        release = resolve
        isLocked = true
      })
    })
    let isLocked = false
    await until(() => isLocked)
    asked = impatient
    const answering = Promise.all(
      Array.from({ length: 24 }, async (_, n) => {
        const response = await fetch(
          n % 2 === 0 ? members(`?after=${n + 1}`) : members(`/${n + 1}`),
        )
        await response.text()
        return [response.status, Number(response.headers.get('retry-after')) > 0]
      }),
    )
    const answers = await answering.finally(() => release())
    await blocked
    asked = db
    expect(new Set(answers.map(String))).toEqual(new Set(['503,true']))
    expect((await fetch(members('?limit=1'))).status).toBe(200)
  })

  test('is fine: a reader that stands still is waited for, however long the list', async () => {
    pages = 0
    const response = await open(members())
    response.pause()
    const count = async (): Promise<number> => {
      const before = pages
      await new Promise((resolve) => setTimeout(resolve, 50))
      return pages - before
    }
    await until(async () => (await count()) === 0, { what: 'the list to stand still' })
    // What the sockets hold between the two, and a page on its way.
    expect(pages).toBeLessThan(ROWS / ROWS_PER_PAGE / 2)
    let bytes = 0
    let last = ''
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      last = chunk.toString('latin1').slice(-1)
    })
    response.resume()
    await new Promise((resolve) => response.once('close', resolve))
    expect(bytes).toBeGreaterThan(ROWS * ROW_BYTES)
    expect(last).toBe(']')
    expect(pages).toBe(ROWS / ROWS_PER_PAGE + 1)
  })

  test('is killed in the middle of an answer: it breaks off without its end, and the next is whole', async () => {
    const response = await open(members())
    response.pause()
    expect(response.statusCode).toBe(200)
    await until(() => response.readableLength > 0)
    await postgres.kill()
    let text = ''
    const isWhole = await new Promise<boolean>((resolve) => {
      response.on('data', (chunk: Buffer) => (text = chunk.toString('latin1')))
      response.once('close', () => resolve(response.complete))
      response.once('error', () => undefined)
      response.resume()
    })
    expect([isWhole, text.endsWith(']')]).toEqual([false, false])
    const away = await fetch(members('?limit=1'))
    expect([away.status, away.headers.get('retry-after')]).toEqual([503, '2'])
    await postgres.start()
    await until(async () => (await fetch(members('?limit=1'))).status === 200)
    expect(await (await fetch(members('?limit=1000'))).json()).toHaveLength(1000)
  })
})
