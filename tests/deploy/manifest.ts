/** The files of deploy/ as data. */
import { parseAllDocuments } from 'yaml'
import { readProjectFile } from '../tidy/tree.ts'

export interface Container {
  readonly name: string
  readonly image: string
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly securityContext: {
    readonly allowPrivilegeEscalation: boolean
    readonly readOnlyRootFilesystem: boolean
    readonly capabilities: { readonly drop: readonly string[] }
  }
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
  readonly startupProbe?: Probe
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

export interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly selector?: { readonly matchLabels?: Labels } & Labels
    readonly podSelector?: { readonly matchLabels: Labels }
    readonly strategy?: {
      readonly type: string
      readonly rollingUpdate: { maxUnavailable: number }
    }
    readonly updateStrategy?: { readonly type: string }
    readonly maxUnavailable?: number
    readonly policyTypes?: readonly string[]
    readonly ingress?: readonly { from?: readonly object[]; ports: readonly { port: number }[] }[]
    readonly ports?: readonly { readonly port: number; readonly targetPort: string }[]
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[]
    readonly template?: {
      readonly metadata: { readonly labels: Labels }
      readonly spec: {
        readonly terminationGracePeriodSeconds: number
        readonly automountServiceAccountToken: boolean
        readonly enableServiceLinks: boolean
        readonly securityContext: {
          readonly runAsNonRoot: boolean
          readonly runAsUser: number
          readonly seccompProfile: { readonly type: string }
        }
        readonly containers: readonly Container[]
        readonly volumes?: readonly { readonly name: string; readonly emptyDir?: object }[]
      }
    }
  }
}

type Labels = Readonly<Record<string, string>>

export function readYaml<T>(path: string): T[] {
  return parseAllDocuments(readProjectFile(path), { merge: true }).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]!
    return document.toJS() as T
  })
}

export interface Stage {
  readonly base: string
  readonly name: string
  readonly instructions: readonly (readonly [string, string])[]
}

/** Stages and their instructions; comments and continued lines are joined away. */
export function readDockerfile(path: string): Stage[] {
  const text = readProjectFile(path)
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll('\\\n', ' ')
  const stages: { base: string; name: string; instructions: [string, string][] }[] = []
  for (const line of text.split('\n')) {
    const match = /^([A-Z]+)\s+(.*)$/.exec(line.trim())
    if (match === null) continue
    const [, keyword, rest] = match
    const from = /^(\S+)(?:\s+AS\s+(\S+))?$/.exec(rest!)
    if (keyword === 'FROM') stages.push({ base: from![1]!, name: from![2] ?? '', instructions: [] })
    else stages.at(-1)!.instructions.push([keyword!, rest!.trim()])
  }
  return stages
}

/** Sections of a unit file; a key may stand several times. */
export function readUnit(path: string): Map<string, string[]> {
  const keys = new Map<string, string[]>()
  let section = ''
  for (const line of readProjectFile(path).split('\n')) {
    const header = /^\[(\w+)\]$/.exec(line)
    const pair = /^(\w+)=(.*)$/.exec(line)
    if (header !== null) section = header[1]!
    else if (pair !== null) {
      const key = `${section}.${pair[1]}`
      keys.set(key, [...(keys.get(key) ?? []), pair[2]!])
    } else if (line !== '' && !line.startsWith('#')) throw new Error(`${path}: ${line}`)
  }
  return keys
}
