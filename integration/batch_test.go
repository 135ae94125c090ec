package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// batchJob writes a job's definition and returns the file.
func batchJob(t *testing.T, format string, args ...any) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startBatch starts a job with mc and returns its id.
func startBatch(t *testing.T, mc *mcRunner, file string) string {
	t.Helper()
	out := mc.must(t, "batch", "start", "seal", file, "--json")
	var started struct {
		Result struct{ ID string }
	}
	if err := json.Unmarshal([]byte(out), &started); err != nil || !strings.HasPrefix(started.Result.ID, "keyrotate-") {
		t.Fatal(out, err)
	}
	return started.Result.ID
}

// batchMetric is what mc says of a job.
type batchMetric struct {
	Complete, Failed bool
	Rotation         struct {
		Objects, ObjectsFailed int64
		LastBucket, LastObject string
	}
}

// batchEnds waits until a job ends, and returns how.
func batchEnds(t *testing.T, mc *mcRunner, id string) batchMetric {
	t.Helper()
	var status struct{ Metric batchMetric }
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		out, all, err := mc.run(t, "batch", "status", "seal", id, "--json")
		first, _, _ := strings.Cut(out, "\n")
		if err != nil || json.Unmarshal([]byte(first), &status) != nil {
			t.Fatal(err, all)
		}
		if status.Metric.Complete || status.Metric.Failed {
			return status.Metric
		}
		if time.Now().After(deadline) {
			t.Fatal("the job does not end:", all)
		}
	}
}

// mc's batch jobs of the kind keyrotate: of both modes, listed, described, refused, cancelled,
// and taken over from a proxy that was killed.
func TestBatchKeyRotation(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, key := range []string{"leaving", "next"} {
		s.mustKey(t, "create", key)
	}
	put := func(key string, header map[string]string) {
		c.put(t, bucket, key, []byte(key), header).wantStatus(t, http.StatusOK)
	}
	for i := range 5 {
		put(fmt.Sprint("kms/", i), kmsWith("leaving"))
	}
	tagged := kmsWith("leaving")
	tagged["X-Amz-Tagging"], tagged["Content-Type"] = "team=red", "image/png"
	put("kms/tagged", tagged)
	for i := range 3 {
		put(fmt.Sprint("s3/", i), nil)
	}
	mc := newMC(t, s)

	job := batchJob(t, "keyrotate:\n  apiVersion: v1\n  bucket: %s\n  prefix: kms/\n  encryption:\n    type: sse-kms\n    key: next\n  flags:\n    filter:\n"+
		"      olderThan: \"0s\"\n      tags:\n        - key: team\n          value: \"r*\"\n      metadata:\n        - key: content-type\n          value: \"image/*\"\n      kmskey: leaving\n", bucket)
	id := startBatch(t, mc, job)
	if m := batchEnds(t, mc, id); !m.Complete || m.Rotation.Objects != 1 || m.Rotation.LastObject != "kms/tagged" || m.Rotation.LastBucket != bucket {
		t.Errorf("by tag and metadata: %+v", m)
	}
	all := batchJob(t, "keyrotate:\n  apiVersion: v1\n  bucket: %s\n  prefix: kms/\n  encryption:\n    type: sse-kms\n    key: next\n", bucket)
	if m := batchEnds(t, mc, startBatch(t, mc, all)); !m.Complete || m.Rotation.Objects != 5 {
		t.Errorf("the others: %+v", m)
	}
	s.mustKey(t, "rotate", defaultKey)
	time.Sleep(3 * time.Second)
	whole := batchJob(t, "keyrotate:\n  apiVersion: v1\n  bucket: %s\n  encryption:\n    type: sse-s3\n  flags:\n    retry:\n      attempts: 1\n", bucket)
	last := startBatch(t, mc, whole)
	if m := batchEnds(t, mc, last); !m.Complete || m.Rotation.Objects != 9 || m.Rotation.ObjectsFailed != 0 {
		t.Errorf("SSE-S3, with objects of SSE-KMS among them: %+v", m)
	}
	if a := c.get(t, bucket, "kms/1", nil); a.status != http.StatusOK || string(a.body) != "kms/1" || a.header.Get("X-Amz-Server-Side-Encryption") != "AES256" {
		t.Errorf("an object that was of SSE-KMS: %d %q %v", a.status, a.body, a.header)
	}
	wantUsage(t, s, "leaving", 0, 0)
	s.mustKey(t, "rm", "--force", "leaving")
	s.mustKey(t, "retire", defaultKey, "1", "--force")

	if out := mc.must(t, "batch", "list", "seal", "--json"); strings.Count(out, `"keyrotate"`) != 3 || !strings.Contains(out, id) || !strings.Contains(out, `"user":"`+rootUser) {
		t.Error("list:", out)
	}
	if out := mc.must(t, "batch", "describe", "seal", id); !strings.Contains(out, "key: next") {
		t.Error("describe:", out)
	}
	if out := mc.must(t, "batch", "generate", "seal", "keyrotate"); !strings.Contains(out, "apiVersion: v1") {
		t.Error("generate:", out)
	}
	mc.must(t, "batch", "cancel", "seal", id)
	if _, out, err := mc.run(t, "batch", "describe", "seal", id); err == nil || !strings.Contains(out, "does not exist") {
		t.Error("cancelled:", out)
	}
	wantBatchRefused(t, s, mc, bucket, last)
}

// A job whose proxy is killed right after it was defined, or while it runs, is done by the
// next one.
func TestBatchJobWhoseProxyIsKilled(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	needsTime(t)
	s := newStack(t, stackOptions{})
	s.dumpOnFailure(t)
	c := s.client()
	bucket := newBucket(t, c)
	s.mustKey(t, "create", "next")
	for i := range 60 {
		c.put(t, bucket, fmt.Sprint(i), fmt.Append(nil, i), kmsWith("next")).wantStatus(t, http.StatusOK)
	}
	for round := range 2 {
		s.mustKey(t, "rotate", "next")
		time.Sleep(3 * time.Second)
		mc := newMC(t, s)
		id := startBatch(t, mc, batchJob(t, "keyrotate:\n  apiVersion: v1\n  bucket: %s\n  encryption:\n    type: sse-kms\n    key: next\n", bucket))
		time.Sleep(time.Duration(round) * 100 * time.Millisecond)
		s.seal.kill()
		s.restart(t)
		mc = newMC(t, s)
		if m := batchEnds(t, mc, id); !m.Complete || m.Failed {
			t.Errorf("after the proxy was killed: %+v", m)
		}
		s.mustKey(t, "retire", "next", fmt.Sprint(round+1), "--force")
		c = s.client()
		for i := range 60 {
			c.get(t, bucket, fmt.Sprint(i), nil).wantStatus(t, http.StatusOK).wantBody(t, fmt.Append(nil, i))
		}
	}
}

// wantBatchRefused says what is not offered, and to whom.
func wantBatchRefused(t *testing.T, s *stack, mc *mcRunner, bucket, id string) {
	t.Helper()
	head := "keyrotate:\n  apiVersion: v1\n  bucket: %s\n  encryption:\n    type: sse-kms\n    key: next\n"
	for says, text := range map[string]string{
		"notify.endpoint":    fmt.Sprintf(head+"  flags:\n    notify:\n      endpoint: http://127.0.0.1:1/\n", bucket),
		"encryption.context": fmt.Sprintf(head+"    context: eyJhIjoiYiJ9\n", bucket),
		"keyrotate.colour":   fmt.Sprintf(head+"  colour: red\n", bucket),
		"replicate":          "replicate:\n  apiVersion: v1\n",
		"does not exist":     fmt.Sprintf(head, "no-such-bucket-here"),
	} {
		if _, out, err := mc.run(t, "batch", "start", "seal", batchJob(t, "%s", text)); err == nil || !strings.Contains(out, says) {
			t.Errorf("%s: %v %s", says, err, out)
		}
	}
	mc.must(t, "admin", "user", "add", "seal", "nobody", "nobodys-secret")
	mc.must(t, "admin", "policy", "attach", "seal", "readwrite", "--user", "nobody")
	mc.must(t, "alias", "set", "nobody", s.seal.endpoint(), "nobody", "nobodys-secret")
	for _, args := range [][]string{
		{"start", "nobody", batchJob(t, head, bucket)}, {"list", "nobody"}, {"describe", "nobody", id}, {"cancel", "nobody", id}, {"status", "nobody", id, "--json"},
	} {
		if _, out, err := mc.run(t, append([]string{"batch"}, args...)...); err == nil {
			t.Errorf("nobody may %v: %s", args, out)
		}
	}
	mc.must(t, "batch", "describe", "seal", id)
}
