package batchjobs

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What is read of a stored job is written, and read, as the same again.
func FuzzDecodeJob(f *testing.F) {
	text, _ := json.Marshal(&Job{ID: "job"})
	f.Add(text)
	f.Add([]byte(`{"ID":"a"}{"ID":"b"}`))
	f.Add([]byte(`{"unknown":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		job, err := decodeJob(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(job)
		if err != nil {
			return // of a time beyond the year 9999, say, which nobody writes
		}
		again, err := decodeJob(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if same, err := json.Marshal(again); err != nil || !bytes.Equal(same, text) {
			t.Fatalf("%q, then %q: %v", text, same, err)
		}
	})
}
