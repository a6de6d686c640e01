import { messageOf } from '../src/base/index.ts'
import { CHAOS_HELP, readChaosFlags } from '../tests/chaos/harness/flags.ts'
import { runChaos } from '../tests/chaos/harness/run.ts'

/** Runs a fleet through a seeded schedule of faults. The last line is the verdict; exit 1 when a check failed. */

try {
  const flags = readChaosFlags(process.argv.slice(2), Math.floor(Math.random() * 2 ** 32))
  if (flags === null) console.log(CHAOS_HELP)
  else {
    const verdict = await runChaos(flags, (line) => console.log(line))
    console.log(verdict.text)
    // A run that was given up may have left something that waits.
    process.exit(verdict.isPassed ? 0 : 1)
  }
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 1
}
