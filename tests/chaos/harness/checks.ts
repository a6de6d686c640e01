/** The five checks of a run, each a list of sentences about what is wrong; empty when it holds. */
import { shardOfGuild } from '../../../src/discord/index.ts'
import type { Sim } from '../../../sim/index.ts'
import {
  checkGaps,
  checkIdentifies,
  checkQueue,
  checkState,
  expectedStates,
  type Finding,
  type GapLine,
  type LedgerEnd,
  type LedgerIdentify,
  readState,
} from '../../e2e/checker/index.ts'
import { gapLines, ledgerOf, queryRows, readLists } from '../../e2e/run.ts'
import type { Disturbance } from './injector.ts'
import type { LoggedWrite } from './fence-log.ts'
import { metricsOf } from './resources.ts'
import type { Workers } from './workers.ts'

export interface RunFacts {
  readonly sim: Sim
  readonly workers: Workers
  readonly shardCount: number
  readonly postgresUrl: string
  readonly redisUrl: string
  readonly redisPrefix: string
  readonly fenceLog: readonly LoggedWrite[]
  readonly disturbances: readonly Disturbance[]
  /** Redis forgets on a crash: what it had taken before its last one may be gone. */
  readonly mayRedisForget: boolean
}

/** Rows that Discord does not send again with a new session: what was missed in a gap stays as it was. */
const NOT_SENT_AGAIN: ReadonlySet<string> = new Set(['members', 'bans'])
/** A process that dies within this time after READY may not have stored the session. */
const STORE_MS_MAX = 10_000

export class Checks {
  readonly #facts: RunFacts
  readonly #gaps: readonly GapLine[]
  readonly #ledger: ReturnType<typeof ledgerOf>
  /** Sessions that never came into Postgres because something was killed in time: nobody could resume them. */
  readonly #unstored: ReadonlySet<string>
  /** What Redis forgot, in the profile in which it may. */
  forgotten = 0

  constructor(facts: RunFacts) {
    this.#facts = facts
    this.#gaps = widest(gapLines(...facts.workers.lives.map(({ program }) => program)))
    this.#ledger = ledgerOf(facts.sim)
    this.#unstored = unstoredSessions(this.#ledger.identifies, facts.fenceLog, facts.disturbances)
  }

  get summary(): string {
    const { ledger, identifies, ends } = this.#ledger
    const { length } = this.#gaps
    const resumes = this.#facts.sim.ledger.resumes.filter(({ outcome }) => outcome === 'resumed')
    return `${ledger.length} events, ${identifies.length} identifies, ${resumes.length} resumes, ${ends.length} sessions ended, ${length} gap lines, ${this.#unstored.size} sessions that nobody could store, ${this.#facts.fenceLog.length} transactions with rows`
  }

  /** 1: the lists hold what the ledger says, and what they lack is named and was unavoidable. */
  async events(): Promise<string[]> {
    const { redisUrl, redisPrefix, sim, disturbances, mayRedisForget } = this.#facts
    const findings = checkQueue({
      payload: 'envelope',
      ...this.#ledger,
      gaps: this.#knownGaps,
      whitelist: null,
      lists: await readLists(redisUrl, redisPrefix),
      prefix: redisPrefix,
      wasKilled: true,
    })
    const kills = disturbances.filter(({ kind }) => kind === 'kill-redis')
    const lastKillMs = Math.max(0, ...kills.map(({ fromMs }) => fromMs))
    const atMs = new Map<string, number>()
    if (mayRedisForget) {
      for (const line of sim.ledger.events()) atMs.set(`${line.session} ${line.s}`, line.atMs)
    }
    // Of what was forgotten a frozen worker's repeat may come as the first, behind later events.
    const isForgotten = (one: Finding): boolean =>
      (one.what === 'missing' || one.what === 'out_of_order') &&
      (atMs.get(`${one.session} ${one.s}`) ?? Infinity) <= lastKillMs
    this.forgotten = findings.filter(isForgotten).length
    const due = checkGaps({ ends: this.#knownEnds, gaps: this.#gaps })
    return texts([...findings.filter((one) => !isForgotten(one)), ...due])
  }

  /** 1, the counters: each process that still runs has counted what it has logged. */
  async counters(): Promise<string[]> {
    const findings: string[] = []
    for (const life of this.#facts.workers.running) {
      // It is being started, and has done nothing yet.
      if (life.httpUrl === undefined) continue
      const page = await metricsOf(life)
      if (page === null) {
        findings.push(`worker ${life.worker} does not answer /metrics`)
        continue
      }
      const counted = page
        .split('\n')
        .filter((line) => line.startsWith('gateway_gaps_total{'))
        .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
      const logged = gapLines(life.program).length
      if (counted !== logged) {
        findings.push(`worker ${life.worker} logged ${logged} gaps and counted ${counted}`)
      }
    }
    return findings
  }

  /** 2: State is what a client could know of the world. */
  async state(): Promise<string[]> {
    const { postgresUrl, shardCount } = this.#facts
    const { ledger } = this.#ledger
    const gaps = this.#knownGaps
    const expected = expectedStates({ ledger, ends: this.#ledger.ends, gaps })
    const actual = await readState((sql) => queryRows(postgresUrl, sql))
    const withGap = new Set([
      ...gaps.map(({ shard }) => shard),
      ...this.#ledger.ends.filter((end) => end.last > end.lastSent).map(({ shard }) => shard),
    ])
    const findings = checkState(expected, actual).filter(({ table, key }) => {
      if (table === undefined || key === undefined || !NOT_SENT_AGAIN.has(table)) return true
      return !withGap.has(shardOfGuild(BigInt(key.split('/')[0]!), shardCount))
    })
    return texts(findings)
  }

  /** 4: no identify but those that lost sessions made necessary, and none too early. */
  identifies(): string[] {
    const { shardCount, sim } = this.#facts
    const { maxConcurrency } = sim.options
    const ends = [...this.#knownEnds]
    for (const session of this.#unstored) {
      const identify = this.#ledger.identifies.find((entry) => entry.session === session)!
      const { shard } = identify
      ends.push({ shard, session, cause: 'unstored', lastSent: 0, last: 0, resumeSeq: null })
    }
    const { identifies } = this.#ledger
    return texts(checkIdentifies({ identifies, ends, shardCount, maxConcurrency }))
  }

  get #knownEnds(): LedgerEnd[] {
    return this.#ledger.ends.filter((end) => !this.#unstored.has(end.session))
  }

  get #knownGaps(): GapLine[] {
    const unknown = this.#ledger.identifies
      .filter(({ session }) => session !== null && this.#unstored.has(session))
      .map(({ shard, session }) => ({
        shard,
        session: session!,
        from: 0,
        to: null,
        cause: 'session_unstored',
      }))
    return [...this.#gaps, ...unknown]
  }
}

function unstoredSessions(
  identifies: readonly LedgerIdentify[],
  fenceLog: readonly LoggedWrite[],
  disturbances: readonly Disturbance[],
): Set<string> {
  const stored = new Set(fenceLog.map(({ session }) => session))
  const unstored = new Set<string>()
  for (const { session, atMs } of identifies) {
    if (session === null || stored.has(session)) continue
    const isExcused = disturbances.some(
      ({ fromMs, toMs }) => fromMs <= atMs + STORE_MS_MAX && toMs >= atMs - 1000,
    )
    if (isExcused) unstored.add(session)
  }
  return unstored
}

/**
 * One that died, or lost the shard, before its word on a session was stored leaves the session to the next one, which
 * knows less of it: both name the gap, and the wider one counts.
 */
function widest(gaps: readonly GapLine[]): GapLine[] {
  const kept: GapLine[] = []
  const bySession = new Map<string, GapLine>()
  for (const gap of gaps) {
    if (!gap.cause.startsWith('session_')) kept.push(gap)
    else if (gap.from < (bySession.get(gap.session)?.from ?? Infinity)) {
      bySession.set(gap.session, gap)
    }
  }
  return [...kept, ...bySession.values()]
}

function texts(findings: readonly Finding[]): string[] {
  return findings.map(({ what, text }) => `${what}: ${text}`)
}
