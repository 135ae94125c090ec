package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	// mostSkew is how far the two clocks may be apart.
	mostSkew = 5 * time.Minute
	// mostBuckets bounds in how many buckets rights and rules are looked at.
	mostBuckets = 20
	// mostPairs bounds how many credentials are tried at MinIO.
	mostPairs = 100
)

// storageLook looks at MinIO itself.
func storageLook(ctx context.Context, e *examination) {
	if u := e.c.Upstream.Endpoint; u.Scheme == "http" && !loopback(u.Hostname()) {
		e.find("upstream.plain-http", fmt.Sprintf("MinIO is reached by plain HTTP at %s", u.Host))
	}
	if err := e.o.Upstream.Alive(ctx); err != nil {
		if isCertificate(err) {
			e.find("upstream.tls", oneLine(err))
		} else {
			e.find("upstream.unreachable", oneLine(err))
		}
		return
	}
	clockLook(ctx, e)
	if e.o.Fit == nil {
		return
	}
	if err := e.o.Fit(ctx); errors.Is(err, upstream.ErrUnfit) {
		e.find("upstream.unfit", oneLine(err))
	}
}

func clockLook(ctx context.Context, e *examination) {
	began := time.Now()
	theirs, err := e.o.Upstream.Clock(ctx)
	if err != nil {
		e.unknown("MinIO's clock: " + oneLine(err))
		return
	}
	ours := began.Add(time.Since(began) / 2)
	if skew := theirs.Sub(ours).Round(time.Second); skew.Abs() > mostSkew {
		side := "ahead of"
		if skew < 0 {
			side = "behind"
		}
		e.find("upstream.clock", fmt.Sprintf("MinIO's clock is %v %s ours", skew.Abs(), side))
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isCertificate(err error) bool {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid)
}

// systemLook looks whether the proxy's own credential is taken, and at the system bucket.
func systemLook(ctx context.Context, e *examination) {
	state, err := e.o.Service.SystemState(ctx)
	switch {
	case upstream.WrongRegion(err):
		e.find("upstream.region", fmt.Sprintf("requests are signed for %q: %s", e.c.Upstream.Region, oneLine(err)))
	case errors.Is(err, system.ErrOwnCredential):
		e.find("upstream.credential", fmt.Sprintf("MinIO refuses the access key %q: %s", e.c.Upstream.Credentials.AccessKey, oneLine(err)))
	case errors.Is(err, system.ErrNoBucket):
		e.lost = true
		e.find("system.missing", fmt.Sprintf("there is no bucket %q at MinIO", e.c.SystemBucket))
	case err != nil:
		e.unknown("the system bucket: " + oneLine(err))
	}
	if err != nil {
		return
	}
	bucket := fmt.Sprintf("the bucket %q at MinIO ", e.c.SystemBucket)
	for _, f := range []struct {
		is       bool
		id, what string
	}{
		{state.Unversioned, "system.versioning", "keeps no versions"},
		{state.Lifecycle, "system.lifecycle", "has lifecycle rules"},
		{state.Public, "system.policy", "has a policy of its own"},
		{state.Locked, "system.object-lock", "gives what is written a retention"},
	} {
		if f.is {
			e.find(f.id, bucket+f.what)
		}
	}
	if len(state.Unknown) > 0 {
		e.unknown(bucket + "in part: upstream.credentials lacks " + strings.Join(state.Unknown, ", ") + ", which only the doctor needs")
	}
}

// rightsLook looks at each right that the proxy's own credential needs.
func rightsLook(ctx context.Context, e *examination) {
	if e.lost {
		return
	}
	missing, err := e.o.Service.SystemRights(ctx)
	if err != nil {
		var answer *storage.Error
		if errors.As(err, &answer) && !isAny(err, system.ErrNoBucket, system.ErrOwnCredential) && !upstream.WrongRegion(err) {
			e.find("upstream.readonly", "MinIO takes no write to the system bucket: "+oneLine(err))
		}
		return // what is amiss is found elsewhere
	}
	report := func(bucket string, rights []string) {
		if len(rights) > 0 {
			e.find("right.missing", fmt.Sprintf("the access key %q lacks %s in the bucket %q", e.c.Upstream.Credentials.AccessKey, strings.Join(rights, ", "), bucket))
		}
	}
	report(e.c.SystemBucket, missing)
	dates, err := e.o.Service.CreationDates(ctx)
	if errors.Is(err, system.ErrOwnRights) {
		e.find("right.missing", fmt.Sprintf("the access key %q lacks s3:ListAllMyBuckets", e.c.Upstream.Credentials.AccessKey))
	}
	buckets := slices.Sorted(maps.Keys(dates))
	if len(buckets) == 0 {
		buckets = []string{e.c.SystemBucket}
	}
	if len(buckets) > mostBuckets {
		e.unknown(fmt.Sprintf("rights in %d buckets: the first %d were looked at", len(buckets)-mostBuckets, mostBuckets))
	}
	said := make(map[string]bool)
	for _, bucket := range buckets[:min(len(buckets), mostBuckets)] {
		missing, err := e.o.Service.BucketRights(ctx, bucket)
		if err != nil && !errors.Is(err, system.ErrNoBucket) {
			e.unknown(fmt.Sprintf("rights in the bucket %q: %s", bucket, oneLine(err)))
			return
		}
		if rights := strings.Join(missing, ","); !said[rights] { // one policy for all buckets is one finding
			said[rights] = true
			report(bucket, missing)
		}
	}
}

// upstreamKMSLook looks for a KMS of MinIO's own, and for rules that use it.
func upstreamKMSLook(ctx context.Context, e *examination) {
	if e.lost { // a trial object lies there
		return
	}
	has, err := e.o.Service.HasKMS(ctx)
	if err != nil {
		if !isAny(err, system.ErrNoBucket, system.ErrOwnCredential, storage.ErrUnreachable) {
			e.unknown("whether MinIO has a KMS: " + oneLine(err))
		}
		return
	}
	if !has {
		return
	}
	e.find("upstream.kms", "MinIO has a KMS of its own")
	dates, err := e.o.Service.CreationDates(ctx)
	if err != nil {
		return
	}
	buckets := slices.Sorted(maps.Keys(dates))
	for _, bucket := range buckets[:min(len(buckets), mostBuckets)] {
		ruled, err := e.o.Service.HasRule(ctx, bucket)
		if errors.Is(err, system.ErrOwnRights) {
			e.unknown("encryption rules at MinIO: upstream.credentials lacks s3:GetEncryptionConfiguration, which only the doctor needs")
			return
		}
		if ruled {
			e.find("upstream.rule", fmt.Sprintf("the bucket %q has an encryption rule at MinIO", bucket))
		}
	}
}

// credentialsLook tries the pairs at MinIO that clients' requests are signed with.
func credentialsLook(ctx context.Context, e *examination) {
	if e.o.Known == nil {
		return
	}
	for i, one := range e.c.Credentials {
		if i == mostPairs {
			e.unknown(fmt.Sprintf("credentials: the first %d were tried", mostPairs))
			return
		}
		at := one.AtUpstream()
		err := e.o.Known(ctx, at.AccessKey, at.SecretKey.Reveal())
		if errors.Is(err, storage.ErrUnreachable) {
			return // found elsewhere
		}
		if err != nil {
			what := fmt.Sprintf("MinIO does not accept the access key %q with its secret", at.AccessKey)
			if one.Upstream != nil {
				what += fmt.Sprintf(" (upstream of the client %q)", one.AccessKey)
			}
			e.find("credential.unknown", what)
		}
	}
}
