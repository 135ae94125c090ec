package edge

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// deadlineWriter takes deadlines, as a connection does.
type deadlineWriter struct{ http.ResponseWriter }

func (deadlineWriter) Header() http.Header              { return nil }
func (deadlineWriter) Write(p []byte) (int, error)      { return len(p), nil }
func (deadlineWriter) WriteHeader(int)                  {}
func (deadlineWriter) SetReadDeadline(time.Time) error  { return nil }
func (deadlineWriter) SetWriteDeadline(time.Time) error { return nil }

// What patience costs a small request, and each further piece of a large one.
func BenchmarkPatience(b *testing.B) {
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		piece := make([]byte, 4096)
		for b.Loop() {
			r := &http.Request{Method: http.MethodPut, ProtoMajor: 1, Body: io.NopCloser(strings.NewReader("abc")), ContentLength: 3}
			w, r, finish := Patience{Stall: time.Minute}.Apply(deadlineWriter{}, r)
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write(piece)
			finish()
		}
	})
	b.Run("read", func(b *testing.B) {
		_, r, _ := Patience{Stall: time.Minute}.Apply(deadlineWriter{}, &http.Request{Body: io.NopCloser(endless{})})
		piece := make([]byte, 4096)
		for b.Loop() {
			_, _ = r.Body.Read(piece)
		}
	})
	b.Run("write", func(b *testing.B) {
		w, _, _ := Patience{Stall: time.Minute}.Apply(deadlineWriter{}, &http.Request{})
		w.(*patientWriter).began = true
		piece := make([]byte, 4096)
		for b.Loop() {
			_, _ = w.Write(piece)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What a place costs a request that need not wait.
func BenchmarkGate(b *testing.B) {
	g := NewGate(1024, time.Second)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			leave, err := g.EnterAs(b.Context(), Claim{Who: "somebody"})
			if err != nil {
				b.Fatal(err)
			}
			leave()
		}
	})
}
