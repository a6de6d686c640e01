import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { runCommand } from './command.ts'

/**
 * Debian starts and enables a server when its package is installed. The tests start servers of their
 * own, so this holds Debian's back and puts the lists of enabled services back as they were.
 */

type Env = Readonly<Record<string, string | undefined>>

/** invoke-rc.d(8) and deb-systemd-invoke ask this script; 101 forbids the action. */
const POLICY_RC_D = '#!/bin/sh\nexit 101\n'

/** Runs `action` while no service may be started. A policy of the machine's own stays in force. */
export async function withServicesHeldBack(
  rootDir: string,
  action: () => Promise<void>,
): Promise<void> {
  const path = join(rootDir, 'usr/sbin/policy-rc.d')
  if (existsSync(path)) return action()
  const remove = (): void => rmSync(path, { force: true })
  const onSignal = (): void => {
    remove()
    process.exit(130)
  }
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, POLICY_RC_D, { mode: 0o755 })
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    await action()
  } finally {
    process.removeListener('SIGINT', onSignal).removeListener('SIGTERM', onSignal)
    remove()
  }
}

/**
 * The links that enable services: `/etc/systemd/system/redis.service` (an alias),
 * `…/multi-user.target.wants/redis-server.service`, and `/etc/rc2.d/S01redis-server` of sysv-rc.
 */
export function enabledServiceLinks(rootDir: string): Set<string> {
  const links = new Set<string>()
  const units = join(rootDir, 'etc/systemd/system')
  for (const entry of linksIn(units)) links.add(entry)
  for (const folder of entriesOf(units)) {
    if (!/\.(wants|requires)$/.test(folder)) continue
    for (const entry of linksIn(join(units, folder))) links.add(entry)
  }
  for (const folder of entriesOf(join(rootDir, 'etc'))) {
    if (!/^rc[0-9S]\.d$/.test(folder)) continue
    for (const entry of linksIn(join(rootDir, 'etc', folder))) {
      if (basename(entry).startsWith('S')) links.add(entry)
    }
  }
  return links
}

/**
 * Stops and disables every service that was enabled since `before` was taken, as `systemctl disable`
 * and `update-rc.d … disable` would: an upgrade of the package leaves it disabled (deb-systemd-helper's
 * `was-enabled` looks for the links).
 */
export async function disableNewServices(
  rootDir: string,
  before: ReadonlySet<string>,
  options: { readonly env: Env; readonly isSystemdRunning: boolean },
): Promise<void> {
  for (const link of enabledServiceLinks(rootDir)) {
    if (before.has(link)) continue
    const name = basename(link)
    if (isSysvLink(link)) {
      renameSync(link, join(dirname(link), name.replace(/^S/, 'K')))
      continue
    }
    // Where a policy of the machine's own let it start.
    if (options.isSystemdRunning) await runCommand('systemctl', ['stop', name], options)
    rmSync(link)
  }
}

function isSysvLink(link: string): boolean {
  return /rc[0-9S]\.d$/.test(dirname(link))
}

function linksIn(folder: string): string[] {
  return entriesOf(folder)
    .map((entry) => join(folder, entry))
    .filter((path) => lstatSync(path).isSymbolicLink())
}

function entriesOf(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}
