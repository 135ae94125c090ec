package main

import "testing"

func TestAKindThatNeverSucceedsIsInVain(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		operations map[string]counts
		bad        bool
	}{
		"none":           {map[string]counts{}, false},
		"some succeeded": {map[string]counts{"put": {"ok": 1, "failed": 900}}, false},
		"none succeeded": {map[string]counts{"put": {"ok": 1, "failed": 900}, "assume-role": {"failed": 150, "unknown": 50}}, true},
		"few were tried": {map[string]counts{"assume-role": {"failed": 20}}, false},
		"none was to":    {map[string]counts{"use-expired": {"failed": 900}}, false},
	} {
		s := &summary{Operations: c.operations}
		if err := s.inVain(); (err != nil) != c.bad {
			t.Errorf("%s: %v", what, err)
		}
	}
}
