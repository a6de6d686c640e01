import { messageOf } from '../src/base/index.ts'
import { systemPlaces } from '../tests/support/binaries.ts'
import { buildOracle, isOracleBuilt } from './oracle.ts'
import { provideSystemPackages } from './system-packages.ts'

/**
 * Runs before the tests: sees to it that Redis, Postgres, etcd and the codec's oracle are there.
 * Says nothing and takes no time when they are.
 */
try {
  const needsOracle = !isOracleBuilt()
  await provideSystemPackages(
    {
      places: systemPlaces,
      isRoot: process.getuid?.() === 0,
      rootDir: '/',
      say: (line) => console.log(line),
    },
    needsOracle,
  )
  if (needsOracle) {
    console.log('Compiling the oracle of the codec tests (tests/oracle).')
    await buildOracle()
  }
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 1
}
