package sink_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
)

func benchmarkRecord(b *testing.B, required bool) {
	b.Helper()
	f, err := sink.OpenFile(sink.FileOptions{Path: filepath.Join(b.TempDir(), "audit.log"), MaxSize: 100 << 20})
	if err != nil {
		b.Fatal(err)
	}
	log, err := audit.New(audit.Options{Sinks: []audit.Sink{f}, Required: required, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	log.SetKey(testKey)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e := audit.Event{
				Kind: audit.Request, RequestID: "0123456789ABCDEF", AccessKey: "alice", Identity: "configured", Address: "192.0.2.1", Operation: "PutObject",
				Bucket: "bucket", Object: "folder/object", SSE: "SSE-S3", KMSKey: "bucketseal-default", KMSVersion: 1, BytesIn: 4096, Outcome: audit.OK, Status: 200, Took: time.Millisecond,
			}
			_ = log.Record(b.Context(), &e)
		}
	})
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkRecord(b *testing.B)         { benchmarkRecord(b, false) }
func BenchmarkRecordRequired(b *testing.B) { benchmarkRecord(b, true) }
