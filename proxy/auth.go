package proxy

import (
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// caller is who a request comes from, and as whom upstream is asked.
type caller struct {
	// accessKey is "" for a caller without a signature.
	accessKey string
	// credential signs upstream requests; nil sends them anonymously.
	credential *upstream.Credential
}

// String returns what the log shows.
func (c caller) String() string {
	if c.accessKey == "" {
		return "anonymous"
	}
	return c.accessKey
}

func (s *Server) identify(auth *sigv4.Request) (caller, error) {
	if auth.Kind == sigv4.Anonymous {
		return caller{}, nil
	}
	if auth.SessionToken != "" {
		return caller{}, errInvalidToken
	}
	secret, ok := s.opts.Credentials.Secret(auth.AccessKey)
	if !ok {
		return caller{}, sigv4.ErrInvalidAccessKeyID
	}
	return caller{
		accessKey:  auth.AccessKey,
		credential: &upstream.Credential{AccessKey: auth.AccessKey, SecretKey: secret},
	}, nil
}

// errKeyAccess says that this proxy's configuration does not let the caller use
// keys for a bucket, whatever upstream would say.
var errKeyAccess = errors.New("the caller may not use encryption keys in this bucket")

// mayUseKeys is asked before any DEK is generated or unsealed: upstream can only
// narrow access, and one that says yes to everybody opens nothing.
func (s *Server) mayUseKeys(c caller, bucket string) error {
	if c.accessKey == "" && !s.opts.AllowAnonymous.Match(bucket) {
		return fmt.Errorf("anonymous caller, bucket %q is not in allow_anonymous: %w", bucket, errKeyAccess)
	}
	return nil
}
