import { messageOf } from '../src/base/index.ts'
import {
  PROPERTY_HELP,
  type PropertyFlags,
  readPropertyFlags,
} from '../tests/property/harness/flags.ts'
import { PropertyWorlds } from '../tests/property/harness/run.ts'
import { startPostgres } from '../tests/support/servers.ts'

/** Random worlds against State. Each seed that fails is printed with the command for it; exit 1 when one did. */

const REPORT_MS = 10_000

try {
  const flags = readPropertyFlags(process.argv.slice(2))
  if (flags === null) console.log(PROPERTY_HELP)
  else process.exitCode = await main(flags)
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 1
}

async function main({ seed: first, seeds }: PropertyFlags): Promise<number> {
  const server = await startPostgres({ fsync: false })
  const worlds = await PropertyWorlds.open(server.url)
  let failed = 0
  try {
    let reportedAt = performance.now()
    for (let seed = first; seed < first + seeds; seed++) {
      const findings = await worlds.run(seed)
      if (findings.length > 0) {
        failed++
        console.log(`seed ${seed}: npm run property -- -seed ${seed} -seeds 1`)
        for (const finding of findings) console.log(`  ${finding}`)
      }
      if (performance.now() - reportedAt > REPORT_MS) {
        reportedAt = performance.now()
        console.log(`${seed - first + 1} of ${seeds} worlds, ${failed} failed`)
      }
    }
  } finally {
    await worlds.close()
    await server.stop()
  }
  console.log(
    failed === 0
      ? `${seeds} worlds: State is what a client can know`
      : `${failed} of ${seeds} worlds failed`,
  )
  return failed === 0 ? 0 : 1
}
