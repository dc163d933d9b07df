/**
 * Every lease, wait and margin of the turn protocol (docs/turns.md), with its reason. Limits of a single call are
 * where it is made: the deadline of a request and MongoDB's limits in lib/platform, the circuit breaker in lib/retell.
 */

import { config } from "../platform/config.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

// An open turn

/** How long the sender of a turn, or of a create, may be alive. Nobody else decides its outcome before that. */
export const leaseMs = () => config().TURN_LEASE_SECONDS * second;

/**
 * How long absence in Retell's history proves nothing: Retell works on a send for 300 s at most, and this adds a
 * margin.
 */
export const settleMs = () => config().TURN_SETTLE_SECONDS * second;

/** The same after a 500: Retell has finished before it answers, but its reads may lag. */
export const settleAfter500Ms = 15 * second;

/** A turn is not begun with less time than this for Retell: better not begun than unknown. */
export const minCallMs = 2 * second;

/** An open turn is settled within the same request only if this much time is left. */
export const minSettleMs = 2 * second;

/** A reply that cannot be stored is tried again until this much time is left, so that the answer still leaves. */
export const minStoreMs = 3 * second;

/** Between two tries to store a reply. */
export const storeAgainMs = 200;

// The end of a chat

/** How long a reply waits for the history that tells whether the agent has ended the chat. */
export const endCheckMs = 3 * second;

/** How long a repeat waits for its first request to find that out: that request's own wait, and its note. */
export const endCheckOfOtherMs = endCheckMs + second;

/** A repeat stops waiting for its first request when this much of its own time is left. */
export const minReplayMs = 3 * second;

/** A waiting repeat reads the chat this often. */
export const replayPollMs = 200;

/**
 * An end time of Retell's replaces a stored one only if they differ by more: clocks differ, and clients know the stored
 * one.
 */
export const endTimeMarginMs = minute;

/**
 * A chat of the old server that ended this long ago and that Retell refuses to show is imported without Retell's
 * history.
 */
export const lostHistoryMs = 7 * day;

// Which of Retell's entries belong to which sends

/** A late entry belongs to a send only if it is at most this much older than the send. Clocks may differ by minutes. */
export const entryBeforeSendMs = 5 * minute;

/** A late entry belongs to a send only if it is less than this much younger than the send. */
export const entryAfterSendMs = hour;

/** An entry whose text was replaced belongs to the open turn only if Retell created it within this time of BEGIN. */
export const replacedTextMs = 3 * second;

/** How much earlier than BEGIN that entry may be: the clocks of MongoDB's server and Retell's differ by less. */
export const serverClocksMs = second;

/** How far Retell's clock, which gives a chat its start, may be ahead of ours: a chat of just now is not in the future. */
export const retellAheadMs = minute;

// Reads

/** How long a document that the primary has just got is waited for: a majority has it within milliseconds. */
export const durableMs = second;

/** Such a document is read this often. */
export const durablePollMs = 20;

/** Apps poll transcripts: within this time of an instance's last read at Retell, Mongo answers. */
export const freshMs = second;

/** After this, a client that polls asks again while a turn is open: its outcome may be there any moment. */
export const pollTurnMs = second;

/** The same while none is open, and for lists. */
export const pollIdleMs = 5 * second;

/** How long a transcript waits for Retell before it shows the stored copy. Retell reads in a fraction of a second. */
export const readPatienceMs = 8 * second;

/** How long a webhook waits for Retell's history. Retell gives up on a webhook after 10 s. */
export const webhookPatienceMs = 8 * second;

// Deletions

/** How long a deletion waits for each call to Retell. What Retell has not done by then, the sweep does. */
export const deletePatienceMs = 8 * second;

// Creates and their keys

/** How long the key of a create is remembered. */
export const keyMs = day;

/**
 * A key that is taken over is remembered this much longer at least, so that its day does not end within the attempt.
 */
export const takenOverKeyMs = hour;

/** How long a cancelled claim is remembered. MongoDB may carry out the claim seconds later. */
export const cancelledClaimMs = 10 * minute;

/** When the sweep ends a chat that its create could neither store nor end. */
export const unstoredChatMs = minute;

// When the sweep looks at a chat

/** After the last message: Retell closes silent chats after an hour by default. */
export const silentChatMs = 65 * minute;

/** After an end that is not complete yet: analysis and cost come later. Also after an end that failed. */
export const endedChatMs = minute;

/** After the outcome of a turn became unknown, or a webhook's chat could not be read. */
export const unknownChatMs = 10 * second;

/** While a turn is unknown: the wait, by the age of the turn. An older turn waits for `oldTurnWaitMs`. */
export const openTurnWaits = [
  { untilMs: 30 * second, waitMs: 10 * second },
  { untilMs: 2 * minute, waitMs: 30 * second },
];
export const oldTurnWaitMs = minute;

/**
 * While Retell cannot be read, or an end that was asked for has failed: for a week, in case the chat itself is the
 * reason.
 */
export const failedReadWaitMs = 5 * minute;
export const failedReadUntilMs = 7 * day;

/** The longest wait for an ongoing chat. Below it, a chat waits for as long as it has been silent. */
export const maxSilentWaitMs = 72 * hour;

/**
 * While analysis or cost is missing: each wait is used until the chat has been over for as long. After the last, none.
 */
export const detailsWaitsMs = [minute, 5 * minute, 30 * minute, 6 * hour];

// The sweep itself

/**
 * How long a call to Retell may take, from its own start. What is left of the run does not count: a call that gets
 * milliseconds fails, and counts against an account that may be healthy.
 */
export const sweepCallMs = 20 * second;

/** What a run keeps of its time at its end: one call that has started, and what is stored after it. */
export const sweepReserveMs = 25 * second;

/** How long a sweep claims a chat: if the sweep dies, the chat is due again after this. */
export const claimMs = 2 * minute;

/** How long chats of a subaccount without an active Retell account wait. */
export const inactiveAccountWaitMs = hour;

/** How often a subaccount's Retell account is searched for orphans. */
export const orphanSearchEveryMs = 10 * minute;

/** A chat at Retell counts as an orphan from this age on: a create may still store a younger one. */
export const orphanMinAgeMs = 10 * minute;

/** Orphans are searched this far back. Retell has closed older chats for their silence. */
export const orphanMaxAgeMs = 73 * hour;

/** Two searches for orphans overlap by this: a search may be late. */
export const orphanOverlapMs = hour;

/** How long instances may go on creating chats in a database that a subaccount has left. */
export const movedDatabaseMs = hour;

/** How long a tombstone stays: no create comes back for its chat after that. */
export const tombstoneMs = 72 * hour;

/** The shortest wait before a chat under a tombstone is ended again. After that, the wait is the tombstone's age. */
export const minTombstoneWaitMs = minute;

/** Retell must refuse to show a chat for this long before the chat counts as deleted there. */
export const deletedAtRetellMs = 7 * day;

// After a restore

/** Chats are searched from this much before the restore point on: Retell's clock is another one. */
export const restoredMarginMs = 5 * minute;

/** How long Retell's list of the chats since then may take. */
export const restoredReadMs = 5 * minute;
