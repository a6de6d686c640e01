/** `gateway -check`: whether a start would succeed and keep its promises. Reads, and changes nothing. */
import { BaseError } from '../../../src/base/index.ts'
import { type GatewayConfig, readGatewayConfig } from '../../../src/config/index.ts'
import { checkDestinations } from './destinations.ts'
import { type CheckDeps, checkDiscord } from './discord.ts'
import { type CheckRow, failed, ok } from './row.ts'
import { checkEtcd, checkStore } from './store.ts'

type Env = Readonly<Record<string, string | undefined>>

/** A configuration that cannot be read is the only row then. */
export async function checkGateway(
  argv: readonly string[],
  env: Env,
  deps: CheckDeps,
): Promise<CheckRow[]> {
  let config: GatewayConfig
  try {
    const command = readGatewayConfig(argv, env)
    if (command.kind !== 'check') return []
    ;({ config } = command)
  } catch (error) {
    if (!(error instanceof BaseError)) throw error
    return [failed('configuration', error)]
  }
  const [store, etcd, destinations] = await Promise.all([
    checkStore(config, deps),
    checkEtcd(config, deps),
    checkDestinations(config, deps),
  ])
  return [
    ok('configuration', `name ${config.name}, ${config.destinations.length} destinations`),
    ...(await checkDiscord(config, store.report, deps)),
    ...store.rows,
    ...etcd,
    ...destinations,
  ]
}

/** Whether -check is meant, also where the rest of the command line cannot be read. */
export function wantsCheck(argv: readonly string[], env: Env): boolean {
  const flag = argv.findLast((argument) => /^--?check(=|$)/.test(argument))
  const value = flag === undefined ? (env['GATEWAY_CHECK'] ?? '') : (flag.split('=')[1] ?? 'true')
  return value !== '' && !/^(false|0|no|off)$/i.test(value)
}
