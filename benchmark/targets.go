package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// target is a server, and a way to store there that is measured.
type target struct {
	// name is, for example, "seal-s3"; label is what tables call it.
	name, label string
	// front is the server that requests go to, back the MinIO behind it, nil if
	// there is none.
	front, back *server
	bucket      string
	// headers are those of each write.
	headers []header
	// prepared names what is stored there already.
	prepared map[string]bool
}

// kind describes a target before it is started.
type kind struct {
	name, label string
	headers     []header
	// settings are lines of bucketseal's configuration.
	settings string
}

var (
	sseS3  = []header{{"x-amz-server-side-encryption", "AES256"}}
	sseKMS = []header{{"x-amz-server-side-encryption", "aws:kms"}, {"x-amz-server-side-encryption-aws-kms-key-id", "bucketseal-default"}}
)

// kinds are all targets. Another setting of bucketseal is one line here.
var kinds = []kind{
	{name: "direct", label: "MinIO, direct"},
	{name: "proxy", label: "plain proxy"},
	{name: "self-s3", label: "MinIO itself, SSE-S3", headers: sseS3},
	{name: "self-kms", label: "MinIO itself, SSE-KMS", headers: sseKMS},
	{name: "seal-s3", label: "bucketseal, SSE-S3", headers: sseS3},
	{name: "seal-kms", label: "bucketseal, SSE-KMS", headers: sseKMS},
	{name: "seal-opaque", label: "bucketseal, SSE-S3 opaque", headers: sseS3, settings: "sse_s3: {etag: opaque}"},
	// Uploads read whole first, and streamed: where small_object.size should lie.
	{name: "seal-buffered", label: "bucketseal, read whole", headers: sseS3, settings: "small_object: {size: 64MiB, budget: 1GiB}"},
	{name: "seal-streamed", label: "bucketseal, streamed", headers: sseS3, settings: "small_object: {size: 1KiB}"},
	// What the audit log costs: none is seal-s3.
	{name: "seal-noted", label: "bucketseal, audit log", headers: sseS3, settings: "audit: {file: {path: AUDIT}}"},
	{name: "seal-audited", label: "bucketseal, audit log required", headers: sseS3, settings: "audit: {file: {path: AUDIT}, required: true}"},
	// Another build, by turns with this one: BUCKETSEAL_OLD_BIN.
	{name: "old-s3", label: "old bucketseal, SSE-S3", headers: sseS3},
	{name: "old-kms", label: "old bucketseal, SSE-KMS", headers: sseKMS},
}

// chooseKinds returns those of a list of names with commas between.
func chooseKinds(names string) ([]kind, error) {
	var chosen []kind
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no target %q", name)
		}
		chosen = append(chosen, kinds[i])
	}
	return chosen, nil
}

// start starts what the targets need and returns them. A setting that this
// bucketseal does not know is said and left out. Targets over TLS share their MinIO
// with those over plain HTTP, but for MinIO itself, which speaks one of the two.
func (l *lab) start(ctx context.Context, chosen []kind, secure bool, say func(string, ...any)) ([]*target, error) {
	suffix := ""
	if secure {
		suffix = "-tls"
	}
	shared := map[string]*server{}
	for _, s := range l.servers {
		shared[s.name] = s
	}
	once := func(name string, start func(name string) (*server, error)) (*server, error) {
		if s := shared[name]; s != nil {
			return s, nil
		}
		s, err := start(name)
		if err == nil {
			shared[name] = s
		}
		return s, err
	}
	minio := func() (*server, error) {
		return once("minio", func(name string) (*server, error) { return l.minio(ctx, name, false, false) })
	}
	var targets []*target
	for _, k := range chosen {
		t := &target{name: k.name, label: k.label, headers: k.headers, bucket: "bench-" + k.name + suffix}
		var err error
		switch family, _, _ := strings.Cut(k.name, "-"); family {
		case "direct":
			t.front, err = minio()
			if secure {
				t.front, err = once("minio-tls", func(name string) (*server, error) { return l.minio(ctx, name, false, true) })
			}
		case "self":
			t.front, err = once("minio-self"+suffix, func(name string) (*server, error) { return l.minio(ctx, name, true, secure) })
		default:
			if t.back, err = minio(); err != nil {
				return nil, err
			}
			t.front, err = once(frontName(k)+suffix, func(name string) (*server, error) { return l.front(ctx, name, k, t.back.addr, secure) })
		}
		if err != nil && k.settings != "" && refused(err) {
			say("%s is left out: this bucketseal does not take `%s`", k.name, k.settings)
			continue
		}
		if err == nil {
			err = t.makeBucket(ctx)
		}
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// frontName names the server in front of MinIO: bucketseals of the same settings
// are one.
func frontName(k kind) string {
	if k.settings == "" {
		family, _, _ := strings.Cut(k.name, "-")
		return family
	}
	return k.name
}

// front starts the proxy or the bucketseal of a target, in front of upstream.
func (l *lab) front(ctx context.Context, name string, k kind, upstream string, secure bool) (*server, error) {
	switch {
	case strings.HasPrefix(k.name, "proxy"):
		return l.proxy(ctx, name, upstream, secure)
	case strings.HasPrefix(k.name, "old"):
		return l.seal(ctx, name, os.Getenv("BUCKETSEAL_OLD_BIN"), upstream, secure, k.settings)
	}
	return l.seal(ctx, name, l.sealBin, upstream, secure, k.settings)
}
