/** The program: flags, start, two lines to copy from, and an end that leaves nothing behind. */
import { writeFile } from 'node:fs/promises'
import { messageOf } from '../src/base/index.ts'
import { helpText, readFlags } from './flags.ts'
import type { SimOptions } from './options.ts'
import { startSim } from './sim.ts'
import type { Sim } from './sim.ts'

/** @returns the exit code: 0 after -help or a signal, 1 when it cannot start, 2 for a wrong flag. */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let options: Partial<SimOptions> | null
  try {
    options = readFlags(argv)
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`)
    return 2
  }
  if (options === null) {
    process.stdout.write(helpText())
    return 0
  }
  let sim: Sim
  try {
    sim = await startSim(options)
    const { tlsCert } = sim.options
    if (tlsCert !== '' && sim.certificate !== null) await writeFile(tlsCert, sim.certificate.cert)
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`)
    return 1
  }
  const { guilds, shards, rate, seed } = sim.options
  process.stdout.write(
    [
      `url ${sim.url}`,
      `gateway ${sim.gatewayUrl}`,
      `token ${sim.token}`,
      `${guilds} guilds, ${shards} shards, ${rate} changes a second, seed ${seed}; Ctrl-C ends`,
      `try npm run gateway -- -token ${sim.token} -discord-api ${sim.apiUrl}`,
      '',
    ].join('\n'),
  )
  await signalled()
  const stats = sim.stats()
  await sim.stop()
  process.stdout.write(
    `stopped after ${stats.eventsDispatched} events to ${stats.identifies} sessions, ${stats.resumes} resumes, ${stats.gaps} gaps\n`,
  )
  return 0
}

function signalled(): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      process.off('SIGINT', end).off('SIGTERM', end)
      resolve()
    }
    process.on('SIGINT', end).on('SIGTERM', end)
  })
}
