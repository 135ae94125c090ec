package main

import "time"

// shortWorks take less than a minute, with all targets.
func shortWorks() []work {
	const slot, rounds = 120 * time.Millisecond, 3
	return []work{
		{op: "get", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		{op: "get", size: 4 * kib, clients: 1, slot: slot, rounds: rounds},
		{op: "head", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		{op: "put", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		{op: "put", size: mib, clients: 16, slot: slot, rounds: rounds},
		{op: "get", size: mib, clients: 16, slot: slot, rounds: rounds},
		{op: "get", size: 64 * mib, clients: 1, slot: slot, rounds: rounds},
		{op: "put", size: 64 * mib, clients: 1, slot: slot, rounds: rounds},
		{op: "range", size: 64 * mib, clients: 16, slot: slot, rounds: rounds},
		{op: "list", clients: 1, slot: slot, rounds: rounds},
		{op: "list-cold", clients: 1, slot: slot, rounds: rounds},
	}
}

// fullWorks are all: below 15 minutes, with all targets.
func fullWorks() []work {
	const slot, rounds = 300 * time.Millisecond, 7
	var all []work
	for _, size := range []int64{4 * kib, 64 * kib, mib, 64 * mib} {
		for _, clients := range []int{16, 1} {
			for _, op := range []string{"put", "get"} {
				w := work{op: op, size: size, clients: clients, slot: slot, rounds: rounds}
				if size == 64*mib && clients == 16 {
					w.rounds = 3 // each round moves a GiB
				}
				all = append(all, w)
			}
		}
	}
	for _, clients := range []int{16, 1} {
		all = append(all,
			work{op: "head", size: 4 * kib, clients: clients, slot: slot, rounds: rounds},
			work{op: "range", size: 64 * mib, clients: clients, slot: slot, rounds: rounds},
			work{op: "list", clients: clients, slot: slot, rounds: rounds},
			work{op: "copy", size: 4 * kib, clients: clients, slot: slot, rounds: rounds},
			work{op: "delete", size: 4 * kib, clients: clients, slot: slot, rounds: rounds},
		)
	}
	return append(all,
		work{op: "list-cold", clients: 1, slot: slot, rounds: rounds},
		work{op: "copy", size: mib, clients: 1, slot: slot, rounds: rounds},
		work{op: "copy", size: 64 * mib, clients: 1, slot: slot, rounds: rounds},
		work{op: "delete", size: mib, clients: 1, slot: slot, rounds: rounds},
		work{op: "multipart", size: 64 * mib, clients: 1, slot: slot, rounds: rounds},
	)
}

// alsoSecure says that a full run does the work over TLS too.
func (w work) alsoSecure() bool {
	switch w.name() {
	case "get-4k-16", "put-4k-16", "get-1m-16", "put-1m-16", "get-64m-1":
		return w.rounds > 3
	}
	return false
}
