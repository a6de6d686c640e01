/** The four checks of a run in which nothing may be lost. */
import type { Sim } from '../../sim/index.ts'
import type { Program } from '../support/program.ts'
import {
  checkGaps,
  checkIdentifies,
  checkQueue,
  checkState,
  describeFindings,
  expectedStates,
  readState,
} from './checker/index.ts'
import { gapLines, ledgerOf, queryRows, readLists } from './run.ts'

export interface Run {
  readonly sim: Sim
  readonly gateways: readonly Program[]
  readonly shardCount: number
  readonly postgresUrl: string
  readonly redisUrl: string
  readonly redisPrefix: string
  readonly whitelist?: readonly string[]
  /** Default envelope. */
  readonly payload?: 'd' | 'envelope'
}

/** What is missing, altered, out of order or not of the ledger in the lists; '' when nothing is. */
export async function queueFindings(run: Run): Promise<string> {
  const findings = checkQueue({
    payload: run.payload ?? 'envelope',
    ...ledgerOf(run.sim),
    gaps: gapLines(...run.gateways),
    whitelist: run.whitelist ?? null,
    lists: await readLists(run.redisUrl, run.redisPrefix),
    prefix: run.redisPrefix,
  })
  return describeFindings(findings)
}

/** Gaps that nothing forced, and forced ones that are not named. */
export function gapFindings(run: Run): string {
  const { ends } = ledgerOf(run.sim)
  return describeFindings(checkGaps({ ends, gaps: gapLines(...run.gateways) }))
}

/** Identifies that were too many, too few or too close. */
export function identifyFindings(run: Run): string {
  const { identifies, ends } = ledgerOf(run.sim)
  const { shardCount } = run
  const { maxConcurrency } = run.sim.options
  return describeFindings(checkIdentifies({ identifies, ends, shardCount, maxConcurrency }))
}

/** Where State is not what a client could know of the world. */
export async function stateFindings(run: Run): Promise<string> {
  const { ledger, ends } = ledgerOf(run.sim)
  const expected = expectedStates({ ledger, ends, gaps: gapLines(...run.gateways) })
  const actual = await readState((sql) => queryRows(run.postgresUrl, sql))
  return describeFindings(checkState(expected, actual))
}
