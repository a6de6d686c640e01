import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  decide,
  findMissing,
  type Machine,
  provideSystemPackages,
} from '../../scripts/system-packages.ts'

const ALL_PACKAGES = ['redis-server', 'postgresql', 'etcd-server', 'python3', 'make', 'g++']

/** What apt-get does on Debian, as far as the installer can see it. */
const FAKE_APT_GET = `#!/bin/sh
root=$(dirname "$0")/..
echo "apt-get $* DEBIAN_FRONTEND=$DEBIAN_FRONTEND" >> $root/calls
[ "$1" = update ] && exit 0
[ -x $root/usr/sbin/policy-rc.d ] || touch $root/started
for name in redis-server initdb postgres etcd python3 make g++; do
  echo '#!/bin/sh' > $root/bin/$name; chmod +x $root/bin/$name
done
wants=$root/etc/systemd/system/multi-user.target.wants
ln -s /lib/systemd/system/redis-server.service $wants/redis-server.service
ln -s /lib/systemd/system/redis-server.service $root/etc/systemd/system/redis.service
ln -s ../init.d/redis-server $root/etc/rc2.d/S01redis-server
`

let root: string
let machine: Machine
let said: string[]

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gateway-installer-'))
  for (const folder of [
    'bin',
    'usr/sbin',
    'etc/rc2.d',
    'etc/systemd/system/multi-user.target.wants',
  ]) {
    mkdirSync(join(root, folder), { recursive: true })
  }
  symlinkSync('../init.d/cron', join(root, 'etc/rc2.d/S01cron'))
  said = []
  machine = {
    places: { env: { PATH: join(root, 'bin') }, postgresDir: join(root, 'no-such-folder') },
    isRoot: true,
    rootDir: root,
    say: (line) => said.push(line),
  }
})

afterEach(() => rmSync(root, { recursive: true }))

function putProgram(name: string, text = '#!/bin/sh\n'): string {
  const path = join(root, 'bin', name)
  writeFileSync(path, text)
  chmodSync(path, 0o755)
  return path
}

/** The fake needs the shell's own tools, which the search for servers must not see. */
function putFakeAptGet(text = FAKE_APT_GET): void {
  putProgram('apt-get', text.replace('\n', `\nPATH=${process.env['PATH']}\n`))
}

function calls(): string[] {
  return readFileSync(join(root, 'calls'), 'utf8').trim().split('\n')
}

describe('the installer', () => {
  test('names what is missing in one line and installs exactly that', async () => {
    putFakeAptGet()
    await provideSystemPackages(machine, true)
    expect(said).toEqual([
      `The tests need ${ALL_PACKAGES.join(', ')} and do not find them: installing by apt-get.`,
    ])
    expect(calls()).toEqual([
      'apt-get update DEBIAN_FRONTEND=noninteractive',
      `apt-get install -y --no-install-recommends ${ALL_PACKAGES.join(' ')} DEBIAN_FRONTEND=noninteractive`,
    ])
  })

  test('leaves no service started or enabled that was not', async () => {
    putFakeAptGet()
    await provideSystemPackages(machine, true)
    expect(existsSync(join(root, 'started'))).toBe(false)
    expect(existsSync(join(root, 'usr/sbin/policy-rc.d'))).toBe(false)
    expect(readdirSync(join(root, 'etc/rc2.d')).sort()).toEqual(['K01redis-server', 'S01cron'])
    const units = join(root, 'etc/systemd/system')
    expect(readdirSync(units)).toEqual(['multi-user.target.wants'])
    expect(readdirSync(join(units, 'multi-user.target.wants'))).toEqual([])
  })

  test("keeps the machine's own policy for starting services", async () => {
    putFakeAptGet()
    writeFileSync(join(root, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101 # mine\n', {
      mode: 0o755,
    })
    await provideSystemPackages(machine, true)
    expect(readFileSync(join(root, 'usr/sbin/policy-rc.d'), 'utf8')).toContain('mine')
  })

  test('asks apt-get for nothing when all is there', async () => {
    putFakeAptGet()
    for (const name of ['redis-server', 'postgres', 'initdb', 'etcd']) putProgram(name)
    await provideSystemPackages(machine, false)
    expect(said).toEqual([])
    expect(existsSync(join(root, 'calls'))).toBe(false)
  })

  test('asks for no compiler when the oracle is built', async () => {
    putFakeAptGet()
    await provideSystemPackages(machine, false)
    expect(calls()[1]).toContain(
      'install -y --no-install-recommends redis-server postgresql etcd-server DEB',
    )
  })

  test("shows apt-get's own words when it fails, and takes its policy back", async () => {
    putFakeAptGet(
      '#!/bin/sh\n[ "$1" = update ] && exit 0\necho E: Unable to locate package >&2\nexit 100\n',
    )
    await expect(provideSystemPackages(machine, true)).rejects.toThrow(
      /apt-get install .* failed:\nE: Unable/,
    )
    expect(existsSync(join(root, 'usr/sbin/policy-rc.d'))).toBe(false)
  })

  test('does not believe an apt-get that installed nothing', async () => {
    putFakeAptGet('#!/bin/sh\nexit 0\n')
    await expect(provideSystemPackages(machine, false)).rejects.toThrow(
      'the programs are not found',
    )
  })
})

describe('the search', () => {
  test('finds a server on the PATH, in a folder of Postgres versions, or by its variable', () => {
    putProgram('redis-server')
    const bin = join(root, 'postgresql/15/bin')
    mkdirSync(bin, { recursive: true })
    for (const name of ['postgres', 'initdb']) writeFileSync(join(bin, name), '', { mode: 0o755 })
    const etcd = putProgram('etcd-of-mine')
    const env = { PATH: join(root, 'bin'), TEST_ETCD_BIN: etcd }
    expect(findMissing({ env, postgresDir: join(root, 'postgresql') }, false)).toEqual({
      packages: [],
      wrongVariables: [],
    })
  })

  test('takes no Postgres that is too old', () => {
    const bin = join(root, 'postgresql/13/bin')
    mkdirSync(bin, { recursive: true })
    for (const name of ['postgres', 'initdb']) writeFileSync(join(bin, name), '', { mode: 0o755 })
    const places = { env: { PATH: '' }, postgresDir: join(root, 'postgresql') }
    expect(findMissing(places, false).packages).toContain('postgresql')
  })

  test('stops at a variable that names no program', () => {
    const env = { PATH: join(root, 'bin'), TEST_REDIS_BIN: '/no/such/redis' }
    const missing = findMissing({ env, postgresDir: root }, false)
    expect(decide(missing, true, true)).toEqual({
      kind: 'stop',
      reason: 'No executable file is named by TEST_REDIS_BIN=/no/such/redis: correct or unset it.',
    })
  })
})

describe('the decision', () => {
  const missing = { packages: ['redis-server', 'make'], wrongVariables: [] }

  test('without root: the list and the command to type', () => {
    expect(decide(missing, false, true)).toMatchObject({
      kind: 'stop',
      reason: expect.stringMatching(
        /^The tests need redis-server, make and do not find them\. Type: sudo sh -c 'apt-get update && .*apt-get install -y --no-install-recommends redis-server make'/,
      ) as string,
    })
  })

  test('without apt-get: the list, and what it is on Debian', () => {
    expect(decide(missing, true, false)).toMatchObject({
      kind: 'stop',
      reason: expect.stringContaining('There is no apt-get here') as string,
    })
  })
})
