/**
 * What lies in deploy/ held to what an operator relies on. No daemon of Docker's or Kubernetes' is asked: files are
 * parsed, the entrypoint runs in a shell, promtool and systemd-analyze check what they can where they are installed.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { GATEWAY_OPTIONS, STATE_OPTIONS } from '../../src/config/index.ts'
import { findOnPath, systemPlaces } from '../support/binaries.ts'
import { projectDir, projectFiles, readProjectFile } from '../tidy/tree.ts'
import { type Container, type Manifest, readDockerfile, readUnit, readYaml } from './manifest.ts'

/** cmd/program.ts ends a program that has not stopped by then. */
const STOP_SECONDS_MAX = 10
const VARIABLES = {
  gateway: new Set([
    ...GATEWAY_OPTIONS.map(({ flag }) => variableOf(flag)),
    'DISCORD_TOKEN',
    'WHITELIST_EVENTS',
    'MULTI_REDIS',
  ]),
  state: new Set(STATE_OPTIONS.map(({ flag }) => variableOf(flag))),
}

function variableOf(flag: string): string {
  return `GATEWAY_${flag.toUpperCase().replaceAll('-', '_')}`
}

function programOf(name: string): 'gateway' | 'state' {
  return name.startsWith('state') ? 'state' : 'gateway'
}

describe('the images', () => {
  const stages = readDockerfile('deploy/docker/Dockerfile')
  const stage = (name: string) => stages.find((one) => one.name === name)!

  test('are built in one stage and run in another that has no build tools or development packages', () => {
    expect(stages.map(({ name }) => name)).toEqual(['build', 'base', 'state', 'gateway'])
    expect(stage('build').instructions).toContainEqual([
      'RUN',
      'npm run build && npm prune --omit=dev',
    ])
    const copied = stage('base').instructions.filter(([keyword]) => keyword === 'COPY')
    expect(copied.map(([, rest]) => rest.split(' ').at(-2))).toEqual([
      '/build/package.json',
      '/build/node_modules',
      '/build/dist',
      '/build/proto',
      '/build/dashboard',
      '/build/migrations',
      'deploy/docker/entrypoint.sh',
    ])
  })

  test('run on the Node that the project is developed on', () => {
    const { devDependencies } = JSON.parse(readProjectFile('package.json')) as {
      devDependencies: Record<string, string>
    }
    const bases = stages.map(({ base }) => base).filter((base) => base.includes(':'))
    expect(new Set(bases)).toEqual(new Set([`node:${devDependencies['node']}-bookworm-slim`]))
  })

  test('run as a numbered user that is not root, from the last USER on', () => {
    expect(stage('base').instructions.filter(([keyword]) => keyword === 'USER')).toEqual([
      ['USER', '10001:10001'],
    ])
    for (const name of ['gateway', 'state']) {
      expect(stage(name).base).toBe('base')
      expect(stage(name).instructions.map(([keyword]) => keyword)).not.toContain('USER')
    }
  })

  test('say how to see that they are well, and take no secret at build time', () => {
    for (const name of ['gateway', 'state']) {
      const keywords = stage(name).instructions.map(([keyword]) => keyword)
      expect(keywords).toContain('HEALTHCHECK')
      expect(keywords).not.toContain('ARG')
    }
    expect(readProjectFile('deploy/docker/Dockerfile')).not.toMatch(/TOKEN|PASSWORD/)
  })

  test('get into the build what the build needs', () => {
    const kept = readProjectFile('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))
    expect(readProjectFile('.dockerignore').split('\n')).toContain('*')
    const { include } = JSON.parse(readProjectFile('tsconfig.build.json')) as { include: string[] }
    expect(kept).toEqual(expect.arrayContaining(include))
    for (const path of kept) {
      const isThere = projectFiles.some((file) => file === path || file.startsWith(`${path}/`))
      expect(isThere, path).toBe(true)
    }
  })
})

describe('the entrypoint', () => {
  /** What it would start: arguments and environment, from a `node` that only tells. */
  function run(program: string, env: Record<string, string>, argv: string[] = []) {
    const folder = mkdtempSync(join(tmpdir(), 'gateway-entrypoint-'))
    try {
      const node = join(folder, 'node')
      writeFileSync(node, '#!/bin/sh\nfor a in "$@"; do echo "arg $a"; done\nenv\n')
      chmodSync(node, 0o755)
      const { status, stdout, stderr } = spawnSync(
        '/bin/sh',
        [`${projectDir}deploy/docker/entrypoint.sh`, program, ...argv],
        {
          env: { PATH: `${folder}:/usr/bin:/bin`, HOSTNAME: 'gateway-2', ...env },
          encoding: 'utf8',
        },
      )
      const lines = stdout.split('\n')
      return {
        status,
        stderr,
        args: lines.filter((line) => line.startsWith('arg ')).map((line) => line.slice(4)),
        env: Object.fromEntries(
          lines
            .filter((line) => /^(GATEWAY_|DISCORD_|TOKEN)/.test(line))
            .map((line) => line.split(/=(.*)/s).slice(0, 2)),
        ) as Record<string, string>,
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  test("maps the ancestor's variables, and keeps the token off the command line", () => {
    const { args, env } = run('gateway', {
      TOKEN: 'Bot secret',
      NAME: 'mine',
      PROD: '1',
      REDIS: 'redis:6379',
      ETCD: 'http://etcd:2379',
      PPROF: '0.0.0.0:7070',
      ADDR: '0.0.0.0:80',
      SHARDS: '40',
      INTENTS: 'fast',
      PSQL: 'postgres://db/gateway',
      SHARDS_PER_POD: '16',
    })
    expect(args).toEqual(['/app/dist/cmd/gateway/main.js'])
    expect(env).toEqual({
      DISCORD_TOKEN: 'Bot secret',
      GATEWAY_NAME: 'mine',
      GATEWAY_PROD: '1',
      GATEWAY_REDIS: 'redis:6379',
      GATEWAY_ETCD: 'http://etcd:2379',
      GATEWAY_HTTP: '0.0.0.0:7070',
      GATEWAY_ADDR: '0.0.0.0:80',
      GATEWAY_SHARDS: '40',
      GATEWAY_INTENTS: 'fast',
      GATEWAY_PSQL: 'postgres://db/gateway',
      GATEWAY_PODID: 'gateway-2',
      GATEWAY_START: '32',
      // The last pod has what is left.
      GATEWAY_STOP: '40',
    })
  })

  test('sets only variables that the programs know', () => {
    const gateway = run('gateway', { TOKEN: 'a', SHARDS: '40', SHARDS_PER_POD: '16', PSQL: 'b' })
    const state = run('state', { PSQL: 'b' })
    expect(Object.keys(gateway.env).filter((name) => !VARIABLES.gateway.has(name))).toEqual([])
    expect(Object.keys(state.env).filter((name) => !VARIABLES.state.has(name))).toEqual([])
  })

  test('lets a GATEWAY_ variable win, and passes arguments on', () => {
    const { args, env } = run('gateway', { REDIS: 'a', GATEWAY_REDIS: 'b' }, [
      '-log-level',
      'debug',
    ])
    expect(env['GATEWAY_REDIS']).toBe('b')
    expect(args).toEqual(['/app/dist/cmd/gateway/main.js', '-log-level', 'debug'])
  })

  test('without SHARDS_PER_POD leaves the shards to the claims', () => {
    expect(Object.keys(run('gateway', {}).env)).not.toContain('GATEWAY_START')
  })

  test('refuses a range for a pod without a number, and for one beyond the shards', () => {
    const nameless = run('gateway', { SHARDS_PER_POD: '16', HOSTNAME: 'gateway-7d9f8' })
    expect(nameless).toMatchObject({ status: 1, stderr: expect.stringContaining('gateway-7d9f8') })
    expect(run('gateway', { SHARDS_PER_POD: '16', SHARDS: '32' })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no shards'),
    })
  })

  test('of state listens for other containers', () => {
    const { args, env } = run('state', { PSQL: 'postgres://db/gateway' })
    expect(args).toEqual(['/app/dist/cmd/state/main.js'])
    expect(env).toMatchObject({
      GATEWAY_ADDR: '0.0.0.0:8080',
      GATEWAY_PSQL: 'postgres://db/gateway',
    })
  })
})

describe('compose.yaml', () => {
  interface Service {
    readonly image: string
    readonly build?: { readonly target: string }
    readonly read_only?: boolean
    readonly cap_drop?: readonly string[]
    readonly security_opt?: readonly string[]
    readonly stop_grace_period?: string
    readonly environment?: Readonly<Record<string, string>>
    readonly ports?: readonly string[]
    readonly volumes?: readonly string[]
    readonly healthcheck?: object
    readonly command?: readonly string[]
    readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  }
  const [{ services, volumes }] = readYaml<{
    services: Record<string, Service>
    volumes: Record<string, null>
  }>('deploy/compose.yaml') as [{ services: Record<string, Service>; volumes: object }]
  const ours = Object.entries(services).filter(([, { build }]) => build !== undefined)

  test('runs two gateways, State, their servers, Prometheus and Grafana', () => {
    expect(Object.keys(services).sort()).toEqual(
      'etcd gateway-1 gateway-2 grafana postgres prometheus redis state'.split(' '),
    )
    expect(ours.map(([name, { build }]) => [name, build?.target])).toEqual([
      ['gateway-1', 'gateway'],
      ['gateway-2', 'gateway'],
      ['state', 'state'],
    ])
  })

  test('gives our containers a read-only root, no capabilities, and time to stop', () => {
    for (const [, service] of ours) {
      expect(service.read_only).toBe(true)
      expect(service.cap_drop).toEqual(['ALL'])
      expect(service.security_opt).toContain('no-new-privileges:true')
      expect(Number.parseInt(service.stop_grace_period!, 10)).toBeGreaterThan(STOP_SECONDS_MAX)
    }
  })

  test('sets variables that the programs know, and waits for healthy servers', () => {
    for (const [name, { environment, depends_on: needed }] of ours) {
      const known = VARIABLES[programOf(name)]
      expect(Object.keys(environment!).filter((variable) => !known.has(variable))).toEqual([])
      for (const [server, { condition }] of Object.entries(needed!)) {
        expect(condition).toBe('service_healthy')
        expect(services[server]!.healthcheck).toBeDefined()
      }
    }
  })

  test('gives each gateway a folder of its own, names every volume', () => {
    const folders = ours.flatMap(([, { volumes: mounts }]) => mounts ?? [])
    expect(folders).toEqual(['gateway-1:/data', 'gateway-2:/data'])
    for (const { volumes: mounts = [] } of Object.values(services)) {
      for (const mount of mounts.filter((one) => !one.startsWith('.'))) {
        expect(Object.keys(volumes)).toContain(mount.split(':')[0])
      }
    }
  })

  test('publishes on the loopback interface only, pins every image, holds no secret', () => {
    for (const [name, { ports = [], image }] of Object.entries(services)) {
      expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
      expect(image, name).toMatch(/:(v?\d+\.\d+|local$)/)
    }
    for (const { environment = {} } of Object.values(services)) {
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD|PSQL/.test(name)) expect(value).toMatch(/\$\{[A-Z]+_PASSWORD:\?\}/)
      }
    }
  })

  test('runs a Redis that writes what it accepts, and never evicts', () => {
    const command = services['redis']!.command!.join(' ')
    expect(command).toContain('--appendonly yes')
    expect(command).toContain('--maxmemory-policy noeviction')
  })

  test('scrapes every gateway', () => {
    const config = readProjectFile('deploy/prometheus/prometheus.yml')
    for (const name of ['gateway-1', 'gateway-2']) expect(config).toContain(`'${name}:6060'`)
  })
})

describe('the Kubernetes manifests', () => {
  const files = projectFiles.filter(
    (path) => path.startsWith('deploy/kubernetes/') && !path.endsWith('kustomization.yaml'),
  )
  const manifests = files.flatMap((path) => readYaml<Manifest>(path))
  const pods = manifests.filter(({ spec }) => spec.template !== undefined)
  const containers = pods.flatMap((pod) =>
    pod.spec.template!.spec.containers.map((container): [string, Container] => [
      `${pod.kind}/${pod.metadata.name}`,
      container,
    ]),
  )

  test('are all in the kustomization, but the other kind of gateway', () => {
    const [{ resources }] = readYaml<{ resources: string[] }>(
      'deploy/kubernetes/kustomization.yaml',
    ) as [{ resources: string[] }]
    const names = files.map((path) => path.split('/').at(-1)!)
    expect(names.filter((name) => !resources.includes(name))).toEqual(['gateway-statefulset.yaml'])
  })

  test('run without root, capabilities or a writable root', () => {
    for (const { spec } of pods) {
      const pod = spec.template!.spec
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 10001,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      expect(pod.automountServiceAccountToken).toBe(false)
      // GATEWAY_PORT=tcp://… would stand beside our own variables.
      expect(pod.enableServiceLinks).toBe(false)
    }
    for (const [, { securityContext }] of containers) {
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
    }
  })

  test('give more time to end than a stop takes, and replace pods one after the other', () => {
    for (const { kind, spec } of pods) {
      expect(spec.template!.spec.terminationGracePeriodSeconds).toBeGreaterThan(
        STOP_SECONDS_MAX + 5,
      )
      if (kind === 'Deployment') {
        expect(spec.strategy).toMatchObject({
          type: 'RollingUpdate',
          rollingUpdate: { maxUnavailable: 0 },
        })
      } else {
        expect(spec.updateStrategy).toEqual({ type: 'RollingUpdate' })
      }
    }
    const budgets = manifests.filter(({ kind }) => kind === 'PodDisruptionBudget')
    expect(
      budgets.map(({ spec }) => [spec.selector!.matchLabels!['app'], spec.maxUnavailable]),
    ).toEqual([
      ['gateway', 1],
      ['state', 1],
    ])
  })

  test('probe the paths that the programs serve, on a port that the container has', () => {
    for (const [name, container] of containers) {
      const isGateway = name.endsWith('/gateway')
      expect(container.livenessProbe.httpGet.path).toBe('/healthz')
      expect(container.readinessProbe.httpGet.path).toBe(isGateway ? '/readyz' : '/healthz')
      const ports = container.ports.map((port) => port.name)
      expect(ports).toContain(container.livenessProbe.httpGet.port)
      expect(ports).toContain(container.readinessProbe.httpGet.port)
    }
  })

  test('keep /data beyond the container in one kind, beyond the pod in the other', () => {
    const gateways = pods.filter(({ metadata }) => metadata.name === 'gateway')
    const deployment = gateways.find(({ kind }) => kind === 'Deployment')
    const statefulSet = gateways.find(({ kind }) => kind === 'StatefulSet')
    const volumes = deployment!.spec.template!.spec.volumes!
    expect(volumes.find(({ name }) => name === 'data')?.emptyDir).toBeDefined()
    expect(readProjectFile('deploy/kubernetes/gateway.yaml')).toContain('counted by cause')
    expect(statefulSet!.spec.volumeClaimTemplates!.map(({ metadata }) => metadata.name)).toEqual([
      'data',
    ])
    for (const [name, { volumeMounts }] of containers) {
      if (!name.endsWith('/gateway')) continue
      expect(volumeMounts).toContainEqual({ name: 'data', mountPath: '/data' })
    }
  })

  test('set variables that the programs know, secrets by reference only', () => {
    for (const [name, { env = [] }] of containers) {
      const known = VARIABLES[programOf(name.split('/')[1]!)]
      expect(env.map((variable) => variable.name).filter((one) => !known.has(one))).toEqual([])
      const secret = env.filter(
        ({ name: one, value }) => value !== undefined && /PSQL|REDIS|TOKEN$/.test(one),
      )
      expect(secret).toEqual([])
    }
  })

  test('let nobody in who is not named, and select the pods that there are', () => {
    const labels = new Set(pods.map(({ spec }) => spec.template!.metadata.labels['app']))
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy')
    expect(policies.map(({ spec }) => spec.podSelector!.matchLabels['app'])).toEqual([...labels])
    for (const { spec } of policies) {
      expect(spec.policyTypes).toEqual(['Ingress', 'Egress'])
      for (const rule of spec.ingress!) expect(rule.from?.length ?? 0).toBeGreaterThan(0)
      const open = spec.ingress!.flatMap(({ ports }) => ports.map(({ port }) => port))
      const served = containers
        .filter(([name]) => name.endsWith(`/${spec.podSelector!.matchLabels['app']}`))
        .flatMap(([, { ports }]) => ports.map(({ containerPort }) => containerPort))
      expect(new Set(open)).toEqual(new Set(served))
    }
    for (const { kind, spec } of manifests) {
      if (kind === 'Service') expect(labels).toContain(spec.selector!['app'])
    }
  })
})

describe('the systemd units', () => {
  const units = ['gateway', 'gateway-state'].map((name): [string, Map<string, string[]>] => [
    name,
    readUnit(`deploy/systemd/${name}.service`),
  ])

  test('run as a user of their own, without rights, and have time to stop', () => {
    for (const [, unit] of units) {
      expect(unit.get('Service.DynamicUser')).toEqual(['yes'])
      expect(unit.get('Service.NoNewPrivileges')).toEqual(['yes'])
      expect(unit.get('Service.ProtectSystem')).toEqual(['strict'])
      expect(unit.get('Service.CapabilityBoundingSet')).toEqual([''])
      expect(Number(unit.get('Service.TimeoutStopSec')![0])).toBeGreaterThan(STOP_SECONDS_MAX)
      // Node compiles at run time.
      expect(unit.has('Service.MemoryDenyWriteExecute')).toBe(false)
    }
  })

  test('start programs of the package with flags that exist, the token as a credential', () => {
    const { bin } = JSON.parse(readProjectFile('package.json')) as { bin: Record<string, string> }
    const flags = {
      gateway: new Set(GATEWAY_OPTIONS.map(({ flag }) => `-${flag}`)),
      state: new Set(STATE_OPTIONS.map(({ flag }) => `-${flag}`)),
    }
    for (const [, unit] of units) {
      const [path, ...argv] = unit.get('Service.ExecStart')![0]!.split(' ')
      const program = path!.replace('/usr/bin/', '')
      expect(Object.keys(bin)).toContain(program)
      const unknown = argv.filter(
        (one) => one.startsWith('-') && !flags[program as 'gateway' | 'state'].has(one),
      )
      expect(unknown).toEqual([])
    }
    expect(units[0]![1].get('Service.LoadCredential')).toEqual(['token:/etc/gateway/token'])
  })

  test('are what systemd-analyze accepts, where it is installed', () => {
    const analyze = findOnPath('systemd-analyze', systemPlaces)
    if (analyze === null) return
    const paths = units.map(([name]) => `${projectDir}deploy/systemd/${name}.service`)
    const { stderr } = spawnSync(analyze, ['verify', ...paths], { encoding: 'utf8' })
    const about = stderr.split('\n').filter((line) => /^gateway(-state)?\.service:/.test(line))
    // The programs need not be installed here.
    expect(about.filter((line) => !line.includes('is not executable'))).toEqual([])
  })
})
