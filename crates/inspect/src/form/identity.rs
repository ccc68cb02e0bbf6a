//! Who a client is, as it is told.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{CredentialStamp, Identity, Proof};

/// A client, as far as it was proven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<Box<str>>,
    listener: String,
    proof: ProofForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProofForm {
    Nothing,
    Certificate,
    Process,
    /// The state of the user's credentials that it was let in by.
    Credentials(u64),
}

impl IdentityForm {
    pub(crate) fn tell(identity: &Identity) -> IdentityForm {
        IdentityForm {
            user: identity.user.clone(),
            client_id: identity.client_id.clone(),
            listener: identity.listener.to_string(),
            proof: match identity.proof {
                Proof::Nothing => ProofForm::Nothing,
                Proof::Certificate => ProofForm::Certificate,
                Proof::Process => ProofForm::Process,
                Proof::Credentials(stamp) => ProofForm::Credentials(stamp.0),
            },
        }
    }

    pub(crate) fn hear(self) -> Identity {
        Identity {
            user: self.user,
            client_id: self.client_id,
            listener: self.listener.into(),
            proof: match self.proof {
                ProofForm::Nothing => Proof::Nothing,
                ProofForm::Certificate => Proof::Certificate,
                ProofForm::Process => Proof::Process,
                ProofForm::Credentials(stamp) => Proof::Credentials(CredentialStamp(stamp)),
            },
        }
    }
}
