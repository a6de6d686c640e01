import { existsSync } from 'node:fs'
import {
  type BinaryPlaces,
  findOnPath,
  findServerBinary,
  SERVER_BINARIES,
  type ServerBinary,
} from '../tests/support/binaries.ts'
import { type CommandResult, runCommand } from './command.ts'
import { disableNewServices, enabledServiceLinks, withServicesHeldBack } from './services.ts'

/** The machine as the installer sees it; a test hands in one of its own. */
export interface Machine {
  readonly places: BinaryPlaces
  readonly isRoot: boolean
  /** Where `/etc`, `/run` and `/usr/sbin` are: '/' but in a test. */
  readonly rootDir: string
  readonly say: (line: string) => void
}

/** What is missing: Debian's names of the packages, and variables that name no program. */
export interface Missing {
  readonly packages: readonly string[]
  readonly wrongVariables: readonly string[]
}

export type Decision =
  | { readonly kind: 'ready' }
  | { readonly kind: 'install'; readonly packages: readonly string[] }
  | { readonly kind: 'stop'; readonly reason: string }

const PACKAGE_OF: Readonly<Record<ServerBinary, string>> = {
  redis: 'redis-server',
  postgres: 'postgresql',
  initdb: 'postgresql',
  etcd: 'etcd-server',
}

/** What compiles the oracle of the codec's tests: program and package have the same name. */
const COMPILER_PACKAGES = ['python3', 'make', 'g++'] as const

export function findMissing(places: BinaryPlaces, needsCompiler: boolean): Missing {
  const packages = new Set<string>()
  const wrongVariables: string[] = []
  for (const name of Object.keys(SERVER_BINARIES) as ServerBinary[]) {
    if (findServerBinary(name, places) !== null) continue
    const { variable } = SERVER_BINARIES[name]
    if ((places.env[variable] ?? '') === '') packages.add(PACKAGE_OF[name])
    else wrongVariables.push(`${variable}=${places.env[variable]}`)
  }
  if (needsCompiler) {
    for (const name of COMPILER_PACKAGES) {
      if (findOnPath(name, places) === null) packages.add(name)
    }
  }
  return { packages: [...packages], wrongVariables }
}

export function decide(missing: Missing, isRoot: boolean, hasAptGet: boolean): Decision {
  if (missing.wrongVariables.length > 0) {
    return {
      kind: 'stop',
      reason: `No executable file is named by ${missing.wrongVariables.join(', ')}: correct or unset it.`,
    }
  }
  const { packages } = missing
  if (packages.length === 0) return { kind: 'ready' }
  if (isRoot && hasAptGet) return { kind: 'install', packages }
  const variables = Object.values(SERVER_BINARIES).map(({ variable }) => variable)
  const cure = hasAptGet
    ? `Type: sudo sh -c '${aptCommand(packages)}'`
    : `There is no apt-get here: install them your system's way (on Debian: ${aptCommand(packages)})`
  return {
    kind: 'stop',
    reason: `The tests need ${packages.join(', ')} and do not find them. ${cure}, or name the programs by ${variables.join(', ')}.`,
  }
}

function aptCommand(packages: readonly string[]): string {
  return `apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ${packages.join(' ')}`
}

/**
 * Installs what the tests need and do not find, leaving no service started or enabled that was not.
 *
 * @throws Error with a sentence and the command to type when it may not or cannot.
 */
export async function provideSystemPackages(
  machine: Machine,
  needsCompiler: boolean,
): Promise<void> {
  const { places, say } = machine
  const hasAptGet = findOnPath('apt-get', places) !== null
  const decision = decide(findMissing(places, needsCompiler), machine.isRoot, hasAptGet)
  if (decision.kind === 'ready') return
  if (decision.kind === 'stop') throw new Error(decision.reason)
  say(`The tests need ${decision.packages.join(', ')} and do not find them: installing by apt-get.`)
  await install(machine, decision.packages)
  const left = findMissing(places, needsCompiler).packages
  if (left.length > 0) {
    throw new Error(`apt-get installed ${left.join(', ')}, but the programs are not found.`)
  }
}

async function install(machine: Machine, packages: readonly string[]): Promise<void> {
  const env = { ...machine.places.env, DEBIAN_FRONTEND: 'noninteractive' }
  const before = enabledServiceLinks(machine.rootDir)
  await withServicesHeldBack(machine.rootDir, async () => {
    const update = await runCommand('apt-get', ['update'], { env })
    const result = await runCommand(
      'apt-get',
      ['install', '-y', '--no-install-recommends', ...packages],
      { env },
    )
    // A list that could not be refreshed does not matter when the packages install all the same.
    if (result.code !== 0) throw new Error(failureOf([update, result]))
  })
  await disableNewServices(machine.rootDir, before, {
    env,
    isSystemdRunning: existsSync(`${machine.rootDir}/run/systemd/system`),
  })
}

function failureOf(results: readonly CommandResult[]): string {
  const failed = results.filter(({ code }) => code !== 0)
  return failed.map((result) => `${result.line} failed:\n${result.output.trim()}`).join('\n')
}
