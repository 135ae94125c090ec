package awssecrets

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsapi"
)

// DefaultRecoveryDays is how long a deleted key can be restored in AWS.
const DefaultRecoveryDays = 30

// Limits of AWS Secrets Manager.
const (
	minRecoveryDays  = 7
	maxRecoveryDays  = 30
	maxSecretName    = 512
	maxKeyName       = 80
	maxTags          = 49 // 50, and one is left to the administrator
	maxTagKey        = 128
	maxTagValue      = 256
	defaultSetting   = "keystore.aws.secretsmanager"
	descriptionOfKey = "bucketseal KMS key" // marks secrets as ours; see Store.owned
)

var (
	// ErrOptions says that Options contradict themselves or AWS's limits.
	ErrOptions = errors.New("invalid AWS Secrets Manager options")

	prefixPattern = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]*$`)
)

// Options configure a Store.
type Options struct {
	// Endpoint of Secrets Manager: host, host:port or URL; a missing scheme
	// means https. Empty: AWS's endpoint of the region.
	Endpoint string
	// KMSEndpoint of AWS KMS, asked only about KMSKey at start. Empty: AWS's
	// endpoint of the region, or Endpoint if that is not a host of AWS.
	KMSEndpoint string
	// Region; empty takes the one of the environment or the AWS profile.
	Region string
	// KMSKey under which Secrets Manager encrypts new secrets: key id, ARN or
	// alias/NAME. Empty: the account's key aws/secretsmanager.
	KMSKey string
	// Credentials; zero is the SDK's whole chain.
	Credentials awsapi.Credentials
	// Prefix stands before every key name in the secret's name. Secrets
	// without it do not exist for the store. Empty as in KES.
	Prefix string
	// Tags are put on every new secret. If there are any, secrets that do not
	// carry all of them are neither listed nor deleted.
	Tags map[string]string
	// RecoveryDays that a deleted key can be restored: 7 to 30; 0 is 30.
	RecoveryDays int
	// Purge deletes at once and for ever, as KES does, instead.
	Purge bool
	// Timeout of one operation with its retries; 0 is awsapi.DefaultTimeout.
	Timeout time.Duration
	// Section is the configuration section that error messages name; empty is
	// keystore.aws.secretsmanager.
	Section string
}

// check fills in defaults and refuses what AWS would refuse later.
func (o *Options) check() error {
	if o.Section == "" {
		o.Section = defaultSetting
	}
	if o.RecoveryDays == 0 {
		o.RecoveryDays = DefaultRecoveryDays
	}
	if o.Timeout <= 0 {
		o.Timeout = awsapi.DefaultTimeout
	}
	var err error
	if o.KMSEndpoint != "" {
		if _, err = awsapi.ParseEndpoint(o.KMSEndpoint); err != nil {
			return o.bad("kmsendpoint", "%v", err)
		}
	}
	if o.Endpoint, err = awsapi.ParseEndpoint(o.Endpoint); err != nil {
		return o.bad("endpoint", "%v", err)
	}
	if o.KMSEndpoint, err = awsapi.KMSEndpoint(o.KMSEndpoint, o.Endpoint); err != nil {
		return o.bad("kmsendpoint", "%v", err)
	}
	switch {
	case o.RecoveryDays < minRecoveryDays || o.RecoveryDays > maxRecoveryDays:
		return o.bad("recovery_days", "%d is not between %d and %d", o.RecoveryDays, minRecoveryDays, maxRecoveryDays)
	case !prefixPattern.MatchString(o.Prefix):
		return o.bad("prefix", "%q may have letters, digits and /_+=.@- only", o.Prefix)
	case len(o.Prefix) > maxSecretName-maxKeyName:
		return o.bad("prefix", "longer than %d characters", maxSecretName-maxKeyName)
	case len(o.Tags) > maxTags:
		return o.bad("tags", "more than %d", maxTags)
	}
	for k, v := range o.Tags {
		if k == "" || len(k) > maxTagKey || len(v) > maxTagValue || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return o.bad("tags", "%q: a tag's key has 1 to %d bytes and does not begin with aws:, its value has at most %d", k, maxTagKey, maxTagValue)
		}
	}
	return nil
}

func (o *Options) bad(setting, format string, args ...any) error {
	return fmt.Errorf("%s.%s: %w: %s", o.Section, setting, ErrOptions, fmt.Sprintf(format, args...))
}
