import { BaseError } from '../base/index.ts'

/** Every code of the room: what it means and what to do. docs/errors.md is made from this table. */
export const PUSH_ERRORS = {
  PUSH_BAD_ADDRESS:
    'The address of a Redis cannot be read. Write host:port, redis://user:password@host:port/db or rediss:// for TLS.',
  PUSH_UNREACHABLE:
    'A destination did not answer at start. Check the address, that the server runs and that this host may connect; at start the program tries for 30 s, later it tries on for good.',
  PUSH_CERTIFICATE:
    "A consumer that events are pushed to and this program do not accept each other's certificates, or the own certificate and its key do not belong together. Check ca-file, cert-file, key-file and server-name of the destination; trying again would not help.",
  PUSH_REFUSED:
    'Redis answered and refused the login: password or user are wrong or missing. Write them into the address as redis://user:password@host:port; trying again would not help.',
  PUSH_MARKS_CLUSTER:
    '-redis-marks was given for a Redis Cluster: a transaction cannot write lists and marks that lie on different nodes. Give a single Redis, with sentinels or without, or leave -redis-marks away.',
  PUSH_SPILL_UNUSABLE:
    'The folder in which a destination keeps what does not fit into memory cannot be used: permissions, a full disk, or a file system without locks. Give a folder that can be written with -data, or another -when-full; a spill that another process holds is no error, a new file is made beside it.',
  PUSH_CLOSED: 'A destination was used after it was closed: the program is stopping.',
} as const

export type PushErrorCode = keyof typeof PUSH_ERRORS

/** What goes wrong between the gateway and a destination of events. docs/errors.md#push */
export class PushError extends BaseError<PushErrorCode> {
  override readonly name = 'PushError'
}
