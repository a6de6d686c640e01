import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryCounters, silentLog, systemClock } from '../../src/base/index.ts'
import { StdoutDestination, type StdoutOptions } from '../../src/push/index.ts'
import { until } from '../support/until.ts'
import type { Received } from './contract.ts'
import { recordedLanes } from './recorded-lanes.ts'

export interface PipedDestination {
  readonly destination: StdoutDestination
  readonly reader: ChildProcess
  /** The lines that the reader has got, once they are as many as were delivered. */
  readonly lines: () => Promise<string[]>
  readonly close: () => Promise<void>
}

/** A destination that writes to a pipe, whose reader is another process. */
export function piped(given: Partial<StdoutOptions> = {}): PipedDestination {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-stdout-'))
  const file = join(folder, 'lines')
  // There before the reader opens it: a test may look before the other process has begun.
  writeFileSync(file, '')
  const reader = spawn('sh', ['-c', 'exec cat > "$0"', file], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  const destination = new StdoutDestination({
    name: 'stdout',
    payload: 'envelope',
    limits: { eventsMax: 10_000, bytesMax: 64 * 1024 * 1024 },
    acks: recordedLanes(),
    onDrop: () => undefined,
    output: reader.stdin!,
    clock: systemClock,
    log: silentLog,
    counters: memoryCounters(),
    ...given,
  })
  const read = (): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1)
  return {
    destination,
    reader,
    async lines() {
      await until(() => read().length >= destination.stats().deliveredEvents)
      return read()
    },
    async close() {
      reader.kill('SIGCONT')
      await destination.drain(0)
      const exited = new Promise((resolve) => reader.once('close', resolve))
      if (reader.exitCode === null && reader.signalCode === null) {
        reader.stdin!.end()
        await exited
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export function receivedIn(lines: readonly string[]): Received[] {
  return lines.map((line) => {
    const { shard, session_id, s, t, d, late } = JSON.parse(line) as Record<string, unknown>
    return {
      shardId: Number(shard),
      sessionId: String(session_id),
      sequence: Number(s),
      eventName: String(t),
      d,
      isLate: late === true,
    }
  })
}
