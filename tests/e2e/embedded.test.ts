import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import { openDatabase } from '../../src/cache/index.ts'
import type { Sim } from '../../sim/index.ts'
import type { Program } from '../support/program.ts'
import { until } from '../support/until.ts'
import { checkState, describeFindings, expectedStates, readState } from './checker/index.ts'
import { everyMutation, gapLines, ledgerOf, startDiscord, startGateway, untilReady } from './run.ts'

const SHARDS = 2
/** More of them by hand: EMBEDDED_KILLS=20 npx vitest run tests/e2e/embedded.test.ts */
const KILLS = Number(process.env.EMBEDDED_KILLS ?? 8)
const SEED = 7
/** Changes of the world in the life of one process, in so many turns: all of them fit into the replay. */
const CHANGES = 80
const TURNS = 8

describe(`the embedded default, killed ${KILLS} times`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-embedded-'))
  const dataDir = join(folder, 'data')
  const random = seededRandom(SEED)
  const gateways: Program[] = []
  let sim: Sim
  let identifiesAfterFirst: number

  beforeAll(async () => {
    sim = await startDiscord({ shards: SHARDS, guilds: 80, rate: 0, seed: SEED })
    for (let kill = 0; kill <= KILLS; kill++) {
      const gateway = startGateway(sim, [`-data=${dataDir}`])
      gateways.push(gateway)
      await untilReady(gateway, SHARDS)
      identifiesAfterFirst ??= sim.ledger.identifies.length
      if (kill % 5 === 0) everyMutation(sim)
      // Within a flush, between flushes, while sequences are saved: wherever it is by then.
      const killAt = performance.now() + random() * 800
      for (let turn = 0; turn < TURNS; turn++) {
        sim.step(CHANGES / TURNS)
        await sleep((killAt - performance.now()) / (TURNS - turn))
      }
      if (kill === KILLS) break
      gateway.kill('SIGKILL')
      await gateway.exited
      sim.step(CHANGES / TURNS)
    }
    // A clean end flushes and saves what was read; the store itself is read below.
    await until(() => sim.sessions.every(({ lastSent, sequence }) => lastSent === sequence))
    expect(await gateways.at(-1)!.stop()).toEqual({ code: 0, signal: null })
  }, 300_000)

  afterAll(async () => {
    for (const gateway of gateways) gateway.kill('SIGKILL')
    await sim.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('every start resumed both sessions and identified nothing', () => {
    expect(sim.ledger.identifies.length).toBe(identifiesAfterFirst)
    expect(sim.ledger.resumes.filter(({ outcome }) => outcome !== 'resumed')).toEqual([])
    expect(sim.ledger.resumes.length).toBeGreaterThanOrEqual(KILLS * SHARDS)
  })

  test('State equals what a client could know of the world, and nothing is a gap', async () => {
    const gaps = gapLines(...gateways)
    expect(gaps).toEqual([])
    const { ledger, ends } = ledgerOf(sim)
    const database = await openDatabase(
      { dataDir },
      { clock: systemClock, random, log: silentLog, counters: memoryCounters() },
    )
    try {
      const actual = await readState((sql) => database.query(sql))
      const sequences = await database.query<{ session_id: string; sequence: string }>(
        'select session_id, sequence from gateway_sessions',
      )
      for (const { session_id, sequence } of sequences) {
        const session = sim.sessions.find(({ id }) => id === session_id)
        expect(Number(sequence)).toBe(session?.sequence)
      }
      const expected = expectedStates({ ledger, ends, gaps })
      expect(describeFindings(checkState(expected, actual))).toBe('')
    } finally {
      await database.close()
    }
  })
})

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
