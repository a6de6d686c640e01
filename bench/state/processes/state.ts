/** The compiled `state`, as its program builds it. */
import { Secret, silentLog, systemClock, systemRandom } from '../../../src/base/index.ts'
import { buildState } from '../../../cmd/state/build.ts'

const state = await buildState({
  addr: '127.0.0.1:0',
  psql: new Secret(process.argv[2]!),
  version: 'bench',
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
})
process.send!(Number(new URL(state.url).port))
