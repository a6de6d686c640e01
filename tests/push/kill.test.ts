import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/base/index.ts'
import { spawnTied } from '../support/server-process.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { expectOrder, type Received } from './contract.ts'
import { adminOf, bareLists, receivedFrom } from './redis-subject.ts'
import { receivedFromStreams } from './stream-subject.ts'

/** More than one is a campaign: `KILL_SEEDS=25 npx vitest run tests/push/kill.test.ts`. */
const SEEDS = Number(process.env['KILL_SEEDS'] ?? '1')
const EVENTS = 8000
const GATEWAY_KILLS = 4
const REDIS_KILLS = 2
const KINDS = ['redis-list', 'redis-stream', 'redis-marks']
const CHILD = fileURLToPath(new URL('./kill-child.ts', import.meta.url))

describe.each(KINDS)('%s, gateway and Redis killed with -9', (kind) => {
  let server: TestServer

  beforeAll(async () => {
    // What it has answered is on its disk: else it would lose what it has accepted.
    server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  })

  afterAll(() => server.stop())

  test.each(Array.from({ length: SEEDS }, (_, index) => index + 1))(
    'at random points, seed %i: every event arrives, in order',
    { timeout: 120_000 },
    async (seed) => {
      const random = seededRandom(seed)
      const folder = mkdtempSync(join(tmpdir(), 'gateway-kill-'))
      const admin = adminOf(server)
      await admin.flushall()
      let acknowledged = 0
      let redisKills = 0
      const redisTurns = async (): Promise<void> => {
        for (; redisKills < REDIS_KILLS; redisKills++) {
          await pause(200 + random() * 1500)
          await server.kill()
          await pause(random() * 1000)
          await server.start()
        }
      }
      const redis = redisTurns()
      for (let run = 0; run <= GATEWAY_KILLS; run++) {
        const args = [kind, server.url, folder, String(acknowledged + 1), String(EVENTS)]
        const child = spawnTied(process.execPath, [CHILD, ...args], {
          cwd: tmpdir(),
          env: { NO_COLOR: '1' },
          deathSignal: 'SIGKILL',
        })
        const lines = createInterface({ input: child.stdout! })
        lines.on('line', (line) => {
          acknowledged = Math.max(acknowledged, Number(line))
        })
        const read = new Promise((resolve) => lines.once('close', resolve))
        const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
        if (run < GATEWAY_KILLS) {
          // Not while it still starts, however slow that is; but Redis may be away just then.
          const begun = new Promise((resolve) => lines.once('line', resolve))
          await Promise.race([begun, pause(1000), ended])
          await Promise.race([pause(random() * 500), ended])
          child.kill('SIGKILL')
          await ended
        } else {
          await redis
          expect(await ended).toBe(0)
        }
        await read
      }
      rmSync(folder, { recursive: true })
      if (kind === 'redis-marks') {
        const lists = await bareLists(admin)
        admin.disconnect()
        // Neither lost nor repeated, and each list in its order, though a bare payload tells nothing of repeats.
        for (const list of lists) expect(list).toEqual([...list].sort((a, b) => a - b))
        const all = Array.from({ length: EVENTS }, (_, index) => index + 1)
        expect(lists.flat().sort((a, b) => a - b)).toEqual(all)
        return
      }
      const arrived = await (kind === 'redis-list'
        ? receivedFrom(admin)
        : receivedFromStreams(admin))
      admin.disconnect()
      const missing = missingOf(arrived)
      expect(missing).toEqual([])
      expectOrder(arrived, kind === 'redis-stream')
    },
  )
})

function missingOf(arrived: readonly Received[]): number[] {
  const seen = new Set(arrived.map((event) => event.sequence))
  return Array.from({ length: EVENTS }, (_, index) => index + 1).filter((s) => !seen.has(s))
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
