//! The three steps of an order, under all the names that they have.

use std::fmt;

/// A step, and so the partner that it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The contract is verified and credit held.
    Cms,
    /// The packages are registered and stock reserved.
    Wms,
    /// The route is optimized and a vehicle assigned.
    Ros,
}

impl Step {
    /// In the order in which they run.
    pub const ALL: [Self; 3] = [Self::Cms, Self::Wms, Self::Ros];

    /// The step's name in the saga, in the status and in idempotency keys.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cms => "CMS_VERIFICATION",
            Self::Wms => "WMS_REGISTRATION",
            Self::Ros => "ROS_OPTIMIZATION",
        }
    }

    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Cms => "Contract Verification",
            Self::Wms => "Package Registration",
            Self::Ros => "Route Optimization",
        }
    }

    /// The partner, as paths and `health-events` name it.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Cms => "cms",
            Self::Wms => "wms",
            Self::Ros => "ros",
        }
    }

    /// The partner, as event types name it.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Cms => "CMS",
            Self::Wms => "WMS",
            Self::Ros => "ROS",
        }
    }

    /// The event of its success.
    #[must_use]
    pub const fn done_event(self) -> &'static str {
        match self {
            Self::Cms => "CMS_VERIFIED",
            Self::Wms => "WMS_REGISTERED",
            Self::Ros => "ROS_OPTIMIZED",
        }
    }

    /// The order's stage while it runs.
    #[must_use]
    pub const fn stage(self) -> &'static str {
        match self {
            Self::Cms => "CMS_PROCESSING",
            Self::Wms => "WMS_PROCESSING",
            Self::Ros => "ROS_PROCESSING",
        }
    }

    /// Its place, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The step of this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// The step whose partner has this [`service`](Self::service) name.
    #[must_use]
    pub fn from_service(service: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.service() == service)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
