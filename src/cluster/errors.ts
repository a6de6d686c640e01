/** Errors of the cluster room. The table is also docs/errors.md's text: what it means, what to do. */
import { BaseError } from '../base/index.ts'

export const CLUSTER_ERRORS = {
  CLUSTER_RANGE_INVALID:
    'The range of shards that this process is to hold is empty or beyond the shard count. Check -start, -stop and -shards: 0 <= start < stop <= shards.',
  CLUSTER_PERMIT_LOST:
    'An identify permit was used after it was given back, or after its lease in etcd could not be kept. Nothing was sent; the shard asks for a new one.',
  CLUSTER_ETCD_UNREACHABLE:
    'No endpoint of -etcd answers. Check that etcd runs, that the addresses are right and that nothing between filters them. A gateway that runs already keeps its shards meanwhile and claims none.',
  CLUSTER_ETCD_NO_QUORUM:
    'etcd answers, but its cluster has no leader, because fewer than half of its members can reach each other. Start the missing members.',
  CLUSTER_ETCD_AUTH:
    'etcd refuses the user or the password, or asks for one, or the user may not read and write the prefix /gateway/. Write them into the endpoints: -etcd http://user:password@host:2379.',
  CLUSTER_ETCD_TLS:
    'The connection to etcd could not be secured. Check that -etcd begins with https:// where etcd speaks TLS (and with http:// where it does not), and that -etcd-ca is the file with the certificates that signed its own.',
  CLUSTER_LEASE_EXPIRED:
    'etcd no longer knows a lease, because its holder could not be heard for longer than -lease-ttl. A new one is granted and the claims are put again; nothing has to be done.',
  CLUSTER_OTHER_BOT:
    'Workers of another bot run under this -name in etcd. Give each bot a name of its own.',
  CLUSTER_ONE_PROCESS:
    'Shards were to be moved or a worker drained where there is one process alone. That needs -etcd and a second worker.',
  CLUSTER_SHARD_UNKNOWN:
    'The number is no shard of the fleet: they count from 0 to the shard count less one.',
  CLUSTER_WORKER_UNKNOWN:
    'A shard was to be moved to, or a drain asked of, a worker that does not live in the fleet. The message names those that do.',
} as const

export class ClusterError extends BaseError<keyof typeof CLUSTER_ERRORS> {
  override readonly name = 'ClusterError'
}
