package main

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// How long a target is driven in a round of the full run, and how many rounds there
// are, if a work does not say otherwise.
const (
	fullSlot   = 250 * time.Millisecond
	fullRounds = 7
)

// allTargets and shortTargets are those of a full and of a short run.
const (
	allTargets   = "direct,proxy,self-s3,self-kms,seal-s3,seal-kms,seal-opaque"
	shortTargets = "proxy,self-s3,seal-s3,seal-kms"
)

// shortWorks take less than a minute, with shortTargets.
func shortWorks() []work {
	const slot, rounds = 80 * time.Millisecond, 3
	return []work{
		{op: "get", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		{op: "get", size: 4 * kib, clients: 1, slot: slot, rounds: rounds},
		{op: "head", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		{op: "put", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		{op: "put", size: mib, clients: 16, slot: slot, rounds: rounds},
		{op: "get", size: 64 * mib, clients: 1, slot: slot, rounds: 1},
		{op: "list", clients: 1, slot: slot, rounds: rounds},
		{op: "list-cold", clients: 1, slot: slot, rounds: rounds},
	}
}

// fullWorks are all: below 15 minutes, with all targets.
func fullWorks() []work {
	const slot, rounds = fullSlot, fullRounds
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
		)
	}
	return append(all,
		work{op: "copy", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
		work{op: "delete", size: 4 * kib, clients: 16, slot: slot, rounds: rounds},
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
		return true
	}
	return false
}

// workPattern is the shape of names: operation, size, clients, and whether over TLS.
var workPattern = regexp.MustCompile(`^(?:(get|put|range|head|copy|delete|multipart)-(\d{1,5})([km])|(list|list-cold))(?:-(\d{1,3}))?(-tls)?$`)

// workNamed returns the work of a name, also of a size and a number of clients that
// the full run does not have. Without a number there are 16 clients, of listings one.
func workNamed(name string) (work, error) {
	m := workPattern.FindStringSubmatch(name)
	if m == nil {
		return work{}, fmt.Errorf("no work is called %q: names are as in get-4k-16, range-64m-1, list-1, put-1m-16-tls", name)
	}
	w := work{op: m[1] + m[4], clients: 16, secure: m[6] != "", slot: fullSlot, rounds: fullRounds}
	if m[4] != "" {
		w.clients = 1
	} else {
		n, _ := strconv.ParseInt(m[2], 10, 64) // digits, by the pattern
		w.size = n * map[string]int64{"k": kib, "m": mib}[m[3]]
	}
	if m[5] != "" {
		w.clients, _ = strconv.Atoi(m[5])
	}
	least := int64(1)
	if w.op == "range" {
		least = 2 * mib
	}
	if w.clients < 1 || m[4] == "" && (w.size < least || w.size > int64(len(content()))) {
		return work{}, fmt.Errorf("%q: objects have 1 KiB to 64 MiB, those that ranges are read of 2 MiB at least, and there is a client", name)
	}
	return w, nil
}
