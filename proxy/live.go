package proxy

import (
	"time"

	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/glob"
)

// Live are the options that Adopt can exchange while the server serves. Each field means
// what the field of Options of the same name means.
type Live struct {
	S3Key                string
	FormerS3Keys         []string
	OpaqueETag, MD5ETag  glob.Patterns
	AllowAnonymous       glob.Patterns
	PlainRead            glob.Patterns
	Domains              []string
	AllowOrigin          glob.Patterns
	Trust                forwarded.Trust
	Patience             edge.Patience
	CustomerKeysOverHTTP bool
	SignatureV2          bool
	MaxSkew              time.Duration
	ReadyWithoutKeys     bool
}

// live returns the part of the options that can be exchanged.
func (o *Options) live() *Live {
	return &Live{
		S3Key: o.S3Key, FormerS3Keys: o.FormerS3Keys, OpaqueETag: o.OpaqueETag, MD5ETag: o.MD5ETag, AllowAnonymous: o.AllowAnonymous,
		PlainRead: o.PlainRead, Domains: o.Domains, AllowOrigin: o.AllowOrigin, Trust: o.Trust, Patience: o.Patience,
		CustomerKeysOverHTTP: o.CustomerKeysOverHTTP, SignatureV2: o.SignatureV2, MaxSkew: o.MaxSkew, ReadyWithoutKeys: o.ReadyWithoutKeys,
	}
}

// Adopt exchanges what of the options can be exchanged: requests that begin from now on
// are served by it. It looks at the fields of Live only. The KMS key S3Key must exist.
func (s *Server) Adopt(o Options) {
	l := o.live()
	if l.S3Key == "" {
		l.S3Key = o.DefaultKey
	}
	for _, adopt := range s.adopters {
		adopt(l)
	}
	s.live.Store(l)
}

// onAdopt has adopt called with what replaces the settings in force.
func (s *Server) onAdopt(adopt func(*Live)) { s.adopters = append(s.adopters, adopt) }

// bucketOf returns the bucket that a request's host names, if it names one.
func (s *Server) bucketOf(host string) (bucket string, ok bool) {
	return domains(s.live.Load().Domains).bucket(host)
}
