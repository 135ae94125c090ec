package checker_test

import (
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/history"
)

// TestOnlyWhatTheStorageBreaksAloneIsSetApart: wrong bytes and other keys stay violations.
func TestOnlyWhatTheStorageBreaksAloneIsSetApart(t *testing.T) {
	h := history.New(nil)
	h.Add(history.Op{Kind: history.Complete, Bucket: "b", Key: "twice", Resent: true, Outcome: history.OK})
	h.Add(history.Op{Kind: history.Complete, Bucket: "b", Key: "once", Outcome: history.OK})
	apart := []checker.Violation{
		{Kind: "unreadable", Bucket: "b", Key: "twice"},
		{Kind: "verify", Detail: `data: {"bucket":"b","error":"read object: package 7: not authentic: damaged","key":"twice","kind":"data"}`},
		{Kind: "offline", Detail: `{"bucket":"b","key":"twice","error":"package 0: not authentic"}`},
	}
	always := checker.Violation{Kind: "listing-lacks", Bucket: "b", Key: "once", Overwritten: true}
	stay := []checker.Violation{
		{Kind: "unreadable", Bucket: "b", Key: "once"},
		{Kind: "unreadable", Bucket: "other", Key: "twice"},
		{Kind: "listing-lacks", Bucket: "b", Key: "once"},
		{Kind: "listing-stale", Bucket: "b", Key: "once", Overwritten: true},
		{Kind: "bytes", Bucket: "b", Key: "twice"},
		{Kind: "verify", Detail: `orphan: {"bucket":"b","key":"twice","kind":"orphan"}`},
		{Kind: "verify", Detail: `data: {"bucket":"b","error":"not authentic","key":"once","kind":"data"}`},
		{Kind: "secret", Detail: "in a log"},
		{Kind: "order", Bucket: "b", Key: "once"},
		{Kind: "stale-read", Bucket: "b", Key: "once", Unanswered: true},
	}
	killed := checker.Violation{Kind: "order", Bucket: "b", Key: "once", Unanswered: true}
	all := append(append([]checker.Violation{always}, apart...), stay...)
	if others, set := checker.SetApart(h, append(all, killed), checker.Storage{Killed: true}); len(set) != 2 || len(others) != len(all)-1 {
		t.Errorf("killed: apart %v, others %v", set, others)
	}
	all, stay = append(all, killed), append(stay, killed)
	if others, set := checker.SetApart(h, all, checker.Storage{Several: true}); len(set) != len(apart)+1 || len(others) != len(stay) {
		t.Errorf("several: apart %v, others %v", set, others)
	}
	if others, set := checker.SetApart(h, all, checker.Storage{}); len(set) != 1 || set[0].Kind != always.Kind || len(others) != len(all)-1 {
		t.Errorf("one: apart %v, others %v", set, others)
	}
}

// TestListingThatLacksAKeyTellsWhetherItWasOverwritten: while the listing was made, and not before.
func TestListingThatLacksAKeyTellsWhetherItWasOverwritten(t *testing.T) {
	for name, try := range map[string]struct {
		from, to time.Duration
		want     bool
	}{"meanwhile": {15, 25, true}, "begun before": {5, 12, true}, "before": {5, 9, false}, "after": {31, 40, false}} {
		h := history.New(nil)
		h.Add(history.Op{Kind: history.Put, Bucket: "b", Key: "k", Write: 1, Start: 0, End: 2, Outcome: history.OK})
		h.Add(history.Op{Kind: history.Put, Bucket: "b", Key: "k", Write: 2, Start: try.from, End: try.to, Outcome: history.OK})
		h.Add(history.Op{Kind: history.List, Bucket: "b", Start: 10, End: 30, Outcome: history.OK})
		var found []checker.Violation
		for _, v := range checker.Check(h) {
			if v.Kind == "listing-lacks" {
				found = append(found, v)
			}
		}
		if len(found) != 1 || found[0].Overwritten != try.want {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
